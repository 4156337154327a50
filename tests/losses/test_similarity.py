"""The similarities, and what holds for every objective that takes them."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses import InfoNCE, MaxMargin, Objective, info_nce, max_margin
from mmts.losses._similarity import other_positives, similarities
from mmts.losses.arctanh import arctanh_info_nce
from mmts.losses.clip_loss import ClipLoss
from mmts.losses.cyclip import CyCLIP
from mmts.losses.siglip import SigLIP
from mmts.losses.sogclr import SogCLR
from tests.losses.test_info_nce import unit

NAMES = ("siglip", "cyclip", "sogclr", "arctanh")


def fresh(name: str, samples: int) -> Objective:
    if name == "arctanh":
        return arctanh_info_nce
    return {"siglip": SigLIP, "cyclip": CyCLIP, "sogclr": lambda: SogCLR(samples)}[name]()


def value_and_gradient(name: str, v: Tensor, t: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    v = v.clone().requires_grad_()
    loss = fresh(name, len(v))(v, t, tau, index=torch.arange(len(v)))
    return loss, torch.autograd.grad(loss, v)[0]


def test_similarities_are_summed_in_single_precision() -> None:
    v, t = unit(8, d=64, seed=1).bfloat16(), unit(8, d=64, seed=2).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = similarities(v, t)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), v.double() @ t.double().T, rtol=0, atol=1e-6)
    assert similarities(v.double(), t.double()).dtype == torch.float64


def test_the_diagonal_is_no_other_positive() -> None:
    mask = torch.tensor([[True, True], [False, False]])
    found = other_positives(mask, unit(2))
    assert found is not None and found.tolist() == [[False, True], [False, False]]
    assert other_positives(None, unit(2)) is None


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name: str) -> None:
    v, t = unit(8, seed=1).float(), unit(8, seed=2).float()
    wanted, gradient = value_and_gradient(name, v, t, 0.1)
    v.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = fresh(name, 8)(v, t, 0.1, index=torch.arange(8))
    assert torch.equal(found, wanted)
    assert torch.equal(torch.autograd.grad(found, v)[0], gradient)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_features(name: str) -> None:
    v, t = unit(8, seed=1).bfloat16(), unit(8, seed=2).bfloat16()
    loss, gradient = value_and_gradient(name, v, t, 0.2)
    wide = value_and_gradient(name, v.double(), t.double(), 0.2)
    assert loss.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    assert loss.item() == pytest.approx(wide[0].item(), rel=1e-5)
    assert (gradient - wide[1]).norm() < 0.01 * wide[1].norm()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tau", [0.01, 0.005])
def test_low_temperature_in_single_precision(name: str, tau: float) -> None:
    v, t = unit(64, seed=1).float(), unit(64, seed=2).float()
    loss, gradient = value_and_gradient(name, v, t, tau)
    wide = value_and_gradient(name, v.double(), t.double(), tau)
    assert loss.item() == pytest.approx(wide[0].item(), rel=1e-4)
    assert (gradient - wide[1]).norm() < 1e-3 * wide[1].norm()


@pytest.mark.parametrize("name", NAMES)
def test_duplicates_are_finite(name: str) -> None:
    same = unit(1).float().expand(4, -1)
    for v, t in ((same, same), (same, -same)):
        loss, gradient = value_and_gradient(name, v, t, 0.01)
        assert torch.isfinite(loss) and torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_batch_does_not_matter(name: str) -> None:
    v, t, order = unit(6, seed=1), unit(6, seed=2), [3, 0, 5, 1, 4, 2]
    loss, gradient = value_and_gradient(name, v, t, 0.1)
    other = value_and_gradient(name, v[order], t[order], 0.1)
    torch.testing.assert_close(other[0], loss)
    torch.testing.assert_close(other[1], gradient[order])


ALL: dict[str, Callable[..., Tensor]] = {
    "info_nce": info_nce, "max_margin": max_margin, "InfoNCE": InfoNCE(), "MaxMargin": MaxMargin(),
    "clip_loss": lambda v, t, tau, **_: ClipLoss()(v, t, 1 / tau),
    **{name: lambda *a, name=name, **more: fresh(name, 4)(*a, **more) for name in NAMES},
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_numpy_features_are_one_line(name: str) -> None:
    rows, ids = unit(4), torch.arange(4)
    for side, given in (("vision", (rows.numpy(), rows)), ("text", (rows, rows.tolist()))):
        told = rf"^{side} is a \w+ \w+; it must be a torch tensor: use torch.as_tensor"
        with pytest.raises(InputError, match=told):
            ALL[name](*given, 0.1, index=ids)


@pytest.mark.parametrize("name", [name for name in ALL if name != "clip_loss"])
def test_cluster_ids_in_place_of_a_temperature(name: str) -> None:
    rows, ids = unit(4), torch.arange(4)
    for tau in (ids, (0.1, ids)):
        with pytest.raises(InputError, match=r"is torch.int64; .* look up the number of each clu"):
            ALL[name](rows, rows, tau, index=ids)


@pytest.mark.parametrize("name", ALL)
def test_one_pair_warns(name: str) -> None:
    row, ids = unit(1), torch.arange(1)
    with pytest.warns(UserWarning, match=r"one pair \(N = 1\).* give at least 2 pairs") as told:
        ALL[name](row, row, 0.1, index=ids)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ALL[name](unit(2), unit(2), 0.1, index=torch.arange(2))
