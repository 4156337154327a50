import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.losses import info_nce
from tests import reference


def unit(n: int, d: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, d, generator=generator, dtype=dtype), dim=1)


def taus(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.02 + torch.rand(n, generator=generator, dtype=torch.float64)


def test_by_hand() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    assert info_nce(eye, eye, 1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert info_nce(eye, eye, 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert info_nce(eye, eye.flip(0), 1.0).item() == pytest.approx(math.log(1 + math.exp(1)))


@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_is_the_double_loop(n: int) -> None:
    v, t, tau = unit(n, seed=1), unit(n, seed=2), taus(n)
    wanted = reference.info_nce(v.tolist(), t.tolist(), tau.tolist(), None)
    assert info_nce(v, t, tau).item() == pytest.approx(wanted, abs=1e-10)


def test_one_temperature_is_the_same_for_all() -> None:
    v, t = unit(6, seed=1), unit(6, seed=2)
    each = torch.full((6,), 0.07, dtype=torch.float64)
    assert torch.equal(info_nce(v, t, 0.07), info_nce(v, t, each))
    assert torch.equal(
        info_nce(v, t, torch.tensor(0.07, dtype=torch.float64)), info_nce(v, t, each)
    )


def test_with_one_temperature_it_is_the_symmetric_cross_entropy() -> None:
    v, t, target = unit(8, seed=1), unit(8, seed=2), torch.arange(8)
    logits = v @ t.T / 0.1
    wanted = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(info_nce(v, t, 0.1), wanted)


def test_temperature_is_the_anchors_in_both_directions() -> None:
    v, t, tau = unit(5, seed=3), unit(5, seed=4), taus(5)
    torch.testing.assert_close(info_nce(v, t, tau), info_nce(t, v, tau))
    s, target = v @ t.T, torch.arange(5)
    transposed = s / tau[:, None]  # the mistake: t2v logits as the transpose of the v2t logits
    wrong = (F.cross_entropy(transposed, target) + F.cross_entropy(transposed.T, target)) / 2
    assert abs(info_nce(v, t, tau).item() - wrong.item()) > 1e-3


def test_gradients() -> None:
    v, t, tau = unit(4, seed=1), unit(4, seed=2), taus(4)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[0, 2] = mask[3, 1] = True
    inputs = [x.requires_grad_() for x in (v, t, tau)]
    # gradcheck steps off the unit sphere by 1e-6, well within the tolerance of the check
    assert torch.autograd.gradcheck(lambda a, b, c: info_nce(a, b, c), inputs)
    assert torch.autograd.gradcheck(lambda a, b, c: info_nce(a, b, c, positives=mask), inputs)


def test_low_temperature_in_single_precision_stays_finite() -> None:
    v, t = unit(64, dtype=torch.float32).requires_grad_(), unit(64, seed=1, dtype=torch.float32)
    loss = info_nce(v, t, 0.01)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert v.grad is not None and torch.isfinite(v.grad).all() and v.grad.abs().sum() > 0


def test_half_precision_is_summed_in_single() -> None:
    v, t = unit(8, seed=1), unit(8, seed=2)
    loss = info_nce(v.bfloat16(), t.bfloat16(), 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(info_nce(v, t, 0.1).item(), abs=0.1)


def test_one_pair_has_no_negative() -> None:
    v = unit(1).requires_grad_()
    loss = info_nce(v, unit(1, seed=1), 0.05)
    loss.backward()
    assert loss.item() == 0 and v.grad is not None and v.grad.abs().max() < 1e-12


def test_duplicates_share_the_probability() -> None:
    v = unit(1).expand(4, -1)
    assert info_nce(v, v, 0.03).item() == pytest.approx(math.log(4))


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 1000))
def test_order_of_the_batch_does_not_matter(order: list[int], seed: int) -> None:
    v, t, tau = unit(6, seed=seed), unit(6, seed=seed + 1), taus(6, seed)
    mask = torch.rand(6, 6, generator=torch.Generator().manual_seed(seed)) < 0.2
    whole = info_nce(v, t, tau, positives=mask)
    shuffled = info_nce(v[order], t[order], tau[order], positives=mask[order][:, order])
    torch.testing.assert_close(whole, shuffled)


def test_other_positives_are_no_negatives() -> None:
    v, t, tau = unit(6, seed=1), unit(6, seed=2), taus(6)
    mask = torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    assert not torch.equal(mask, mask.T)
    wanted = reference.info_nce(v.tolist(), t.tolist(), tau.tolist(), mask.tolist())
    assert info_nce(v, t, tau, positives=mask).item() == pytest.approx(wanted, abs=1e-10)
    everything = torch.ones(6, 6, dtype=torch.bool)
    assert info_nce(v, t, tau, positives=everything).item() == 0
    diagonal = torch.eye(6, dtype=torch.bool)
    assert torch.equal(info_nce(v, t, tau, positives=diagonal), info_nce(v, t, tau))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v, t: info_nce(v, t[:3], 0.1), r"vision is \(4, 5\) and text \(3, 5\)"),
        (lambda v, t: info_nce(v[0], t[0], 0.1), r"both must be \[N, D\]"),
        (lambda v, t: info_nce(v[:0], t[:0], 0.1), "no rows"),
        (lambda v, t: info_nce(2 * v, t, 0.1), "vision row 0 has norm 2; .*normalize"),
        (lambda v, t: info_nce(v, t * (torch.arange(4) != 2)[:, None], 0.1), "row 2 has norm 0"),
        (lambda v, t: info_nce(v * math.nan, t, 0.1), "vision row 0 holds NaN"),
        (lambda v, t: info_nce(v, t, 0.0), "tau is 0; it must be finite and > 0"),
        (lambda v, t: info_nce(v, t, -1), "tau is -1;"),
        (lambda v, t: info_nce(v.float(), t.float(), 1e-39), "tau is 1e-39;"),
        (lambda v, t: info_nce(v, t, None), "tau is a NoneType; it must be a number"),
        (lambda v, t: info_nce(v, t, math.nan), "tau is nan;"),
        (lambda v, t: info_nce(v, t, torch.tensor([0.1, 0.1, 0, 0.1])), r"tau\[2\] is 0;"),
        (lambda v, t: info_nce(v, t, torch.tensor([0.1, math.inf, 0.1, 0.1])), r"tau\[1\] is inf;"),
        (lambda v, t: info_nce(v, t, torch.ones(3)), r"tau has shape \(3,\); .*\[4\]"),
        (lambda v, t: info_nce(v, t, torch.ones(4, 1)), r"tau has shape \(4, 1\)"),
        (lambda v, t: info_nce(v, t, 1, positives=torch.ones(4, 4)), "positives is torch.float32"),
        (lambda v, t: info_nce(v, t, 1, positives=torch.ones(4, 3) > 0), r"of shape \(4, 3\)"),
    ],
)  # fmt: skip
def test_wrong_input(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(unit(4, seed=1), unit(4, seed=2))  # type: ignore[operator]
