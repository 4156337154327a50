import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmts.errors import InputError
from mmts.losses import max_margin
from tests import reference
from tests.losses.test_info_nce import taus, unit


def rows(*angles: float) -> Tensor:
    """Unit rows in the plane at the given angles in degrees."""
    radians = torch.deg2rad(torch.tensor(angles, dtype=torch.float64))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_by_hand() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    assert max_margin(eye, eye, 0.2).item() == 0
    assert max_margin(eye, eye, 1.5).item() == pytest.approx(0.5)
    assert max_margin(eye, eye.flip(0), 0.2).item() == pytest.approx(1.2)
    # similarities: s00 = cos 0 = 1, s01 = cos 60 = 0.5, s10 = cos 60 = 0.5, s11 = 1
    v = t = rows(0, 60)
    assert max_margin(v, t, 0.6).item() == pytest.approx(0.1)
    # only the anchor 1 has a margin that bites: two of four hinges are 0.3
    assert max_margin(v, t, torch.tensor([0.1, 0.8])).item() == pytest.approx(0.15)


@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_is_the_double_loop(n: int) -> None:
    v, t, margin = unit(n, seed=1), unit(n, seed=2), taus(n)
    wanted = reference.max_margin(v.tolist(), t.tolist(), margin.tolist(), None)
    assert max_margin(v, t, margin).item() == pytest.approx(wanted, abs=1e-12)


def test_one_margin_is_the_same_for_all() -> None:
    v, t = unit(6, seed=1), unit(6, seed=2)
    each = torch.full((6,), 0.2, dtype=torch.float64)
    assert torch.equal(max_margin(v, t, 0.2), max_margin(v, t, each))


def test_margin_is_the_anchors_in_both_directions() -> None:
    v, t, margin = unit(5, seed=3), unit(5, seed=4), taus(5)
    torch.testing.assert_close(max_margin(v, t, margin), max_margin(t, v, margin))


def test_margin_may_be_0() -> None:
    v, t = unit(5, seed=3), unit(5, seed=4)
    wanted = reference.max_margin(v.tolist(), t.tolist(), [0.0] * 5, None)
    assert wanted > 0 and max_margin(v, t, 0).item() == pytest.approx(wanted)


def test_gradients() -> None:
    v, t, margin = unit(4, seed=1), unit(4, seed=2), taus(4)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 2] = mask[3, 1] = True
    inputs = [x.requires_grad_() for x in (v, t, margin)]
    assert torch.autograd.gradcheck(lambda a, b, c: max_margin(a, b, c), inputs)
    assert torch.autograd.gradcheck(lambda a, b, c: max_margin(a, b, c, positives=mask), inputs)


def test_single_precision() -> None:
    v, t = unit(32, seed=1), unit(32, seed=2)
    found = max_margin(v.float(), t.float(), 0.2)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(max_margin(v, t, 0.2).item(), rel=1e-5)
    assert max_margin(v.bfloat16(), t.bfloat16(), 0.2).dtype == torch.float32


def test_one_pair_has_no_negative() -> None:
    v = unit(1).requires_grad_()
    with pytest.warns(UserWarning, match="no negatives"):
        loss = max_margin(v, unit(1, seed=1), 0.2)
    loss.backward()
    assert loss.item() == 0 and v.grad is not None and torch.isfinite(v.grad).all()


def test_duplicates_pay_the_margin() -> None:
    v = unit(1).expand(4, -1)
    assert max_margin(v, v, 0.2).item() == pytest.approx(0.2)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 1000))
def test_order_of_the_batch_does_not_matter(order: list[int], seed: int) -> None:
    v, t, margin = unit(6, seed=seed), unit(6, seed=seed + 1), taus(6, seed)
    mask = torch.rand(6, 6, generator=torch.Generator().manual_seed(seed)) < 0.2
    whole = max_margin(v, t, margin, positives=mask)
    shuffled = max_margin(v[order], t[order], margin[order], positives=mask[order][:, order])
    torch.testing.assert_close(whole, shuffled)


def test_other_positives_are_left_out_of_sum_and_mean() -> None:
    v, t, margin = unit(6, seed=1), unit(6, seed=2), taus(6)
    mask = torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    wanted = reference.max_margin(v.tolist(), t.tolist(), margin.tolist(), mask.tolist())
    assert max_margin(v, t, margin, positives=mask).item() == pytest.approx(wanted, abs=1e-12)
    everything = torch.ones(6, 6, dtype=torch.bool)
    assert max_margin(v, t, margin, positives=everything).item() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v, t: max_margin(v, t[:, :3], 0.1), r"vision is \(4, 5\) and text \(4, 3\)"),
        (lambda v, t: max_margin(v[:0], t[:0], 0.1), "no rows"),
        (lambda v, t: max_margin(v, 0.5 * t, 0.1), "text row 0 has norm 0.5"),
        (lambda v, t: max_margin(v, t, -0.1), "margin is -0.1; it must be finite and >= 0"),
        (lambda v, t: max_margin(v, t, torch.tensor([0.0, -1, 0, 0])), r"margin\[1\] is -1"),
        (lambda v, t: max_margin(v, t, math.nan), "margin is nan"),
        (lambda v, t: max_margin(v, t, torch.ones(5)), r"margin has shape \(5,\)"),
        (
            lambda v, t: max_margin(v, t, 1, positives=torch.ones(4, 4)),
            "positives is torch.float32",
        ),
    ],
)
def test_wrong_input(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(unit(4, seed=1), unit(4, seed=2))  # type: ignore[operator]
