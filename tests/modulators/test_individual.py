import math

import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.losses.sogclr import SogCLR
from mmts.modulators.individual import GRADIENT_CLIP, IndividualTau
from mmts.training.batch import Batch
from tests.losses.test_info_nce import unit

NUMBERS = {"learning_rate": 0.01, "momentum": 0.9, "tau_min": 0.01, "tau_max": 0.5}


def batch(*index: int) -> Batch:
    ids = torch.tensor(index)
    return Batch({}, torch.zeros(len(ids), 2), torch.zeros_like(ids), ids)


def taus(modulator: IndividualTau, *index: int) -> tuple[Tensor, Tensor]:
    rows = torch.zeros(len(index), 2)
    found = modulator(0, batch(*index), rows, rows)
    assert isinstance(found, tuple) and len(found) == 2
    return found


def make(samples: int = 6, **numbers: float) -> IndividualTau:
    return IndividualTau(torch.linspace(0.1, 0.2, samples), **{**NUMBERS, **numbers})


def test_gives_the_rows_of_the_batch() -> None:
    modulator = make()
    modulator.tau_t2v += 0.1
    v2t, t2v = taus(modulator, 3, 0)
    torch.testing.assert_close(v2t, torch.tensor([0.16, 0.1]))
    torch.testing.assert_close(t2v, torch.tensor([0.26, 0.2]))
    assert v2t.requires_grad and v2t.is_leaf and v2t.dtype == torch.float32
    modulator.eval()
    assert not taus(modulator, 3, 0)[0].requires_grad
    modulator.train()
    with torch.no_grad():
        assert not taus(modulator, 3, 0)[1].requires_grad


def test_backward_moves_the_rows_of_the_batch_by_the_formula() -> None:
    modulator = make()
    table = {"v2t": [0.1 + 0.02 * i for i in range(6)], "t2v": [0.1 + 0.02 * i for i in range(6)]}
    mean = {"v2t": [0.0] * 6, "t2v": [0.0] * 6}
    for index in ((4, 1, 2), (1, 5), (2, 4, 1)):
        found = taus(modulator, *index)
        weights = {"v2t": [0.3 * (i - 2) for i in index], "t2v": [0.1 * i for i in index]}
        loss = sum(
            (torch.tensor(weights[way]) * tau).sum()
            for way, tau in zip(("v2t", "t2v"), found, strict=True)
        )
        assert isinstance(loss, Tensor)
        loss.backward()
        for way in ("v2t", "t2v"):
            for slope, i in zip(weights[way], index, strict=True):
                gradient = 2 * len(index) * slope
                mean[way][i] = 0.1 * mean[way][i] + 0.9 * gradient
                table[way][i] = min(max(table[way][i] - 0.01 * mean[way][i], 0.01), 0.5)
            tau, momentum = (
                modulator.get_buffer(f"tau_{way}"),
                modulator.get_buffer(f"momentum_{way}"),
            )
            assert tau.tolist() == pytest.approx(table[way], rel=1e-5)
            assert momentum.tolist() == pytest.approx(mean[way], rel=1e-5)


def test_gradient_is_clipped_and_tau_is_bounded() -> None:
    modulator = make(learning_rate=0.02, momentum=1.0)
    v2t, t2v = taus(modulator, 0, 5)
    (torch.tensor([1e3, -1e3]) * v2t - 1e6 * t2v).sum().backward()
    assert modulator.momentum_v2t[[0, 5]].tolist() == [GRADIENT_CLIP, -GRADIENT_CLIP]
    # 0.1 - 0.02 * 5 is below tau_min; 0.2 + 0.02 * 5 is not above tau_max
    assert modulator.tau_v2t[[0, 5]].tolist() == pytest.approx([0.01, 0.3])
    for _ in range(9):
        (-1e6 * taus(modulator, 0, 5)[1]).sum().backward()
    assert modulator.tau_t2v[[0, 5]].tolist() == [0.5, 0.5]


def test_autograd_grad_alone_moves_nothing() -> None:
    modulator = make()
    v2t, t2v = taus(modulator, 0, 5)
    torch.autograd.grad((v2t + t2v).sum(), (v2t, t2v))
    assert torch.equal(modulator.tau_v2t, make().tau_v2t)


def test_with_sogclr_it_is_isogclr() -> None:
    modulator, objective = make(), SogCLR(samples=6, rho=0.3)
    v, t = unit(3, seed=1).requires_grad_(), unit(3, seed=2)
    tau = modulator(0, batch(5, 0, 2), v, t)
    objective(v, t, tau, index=torch.tensor([5, 0, 2])).backward()
    s = (v.detach() @ t.T).tolist()
    for table, turned in ((modulator.tau_v2t, False), (modulator.tau_t2v, True)):
        for i, sample in enumerate((5, 0, 2)):
            start = 0.1 + 0.02 * sample
            h = [(s[j][i] if turned else s[i][j]) - s[i][i] for j in range(3) if j != i]
            g = sum(math.exp(x / start) for x in h) / 2
            pull = sum(math.exp(x / start) * x for x in h) / (2 * g * start)
            gradient = max(-5.0, min(5.0, math.log(g) + 0.3 - pull))  # the paper's, per sample
            assert table[sample].item() == pytest.approx(start - 0.01 * 0.9 * gradient, rel=1e-5)
    unmoved = [1, 3, 4]
    assert torch.equal(modulator.tau_v2t[unmoved], make().tau_v2t[unmoved])
    assert v.grad is not None and v.grad.abs().sum() > 0


def test_any_objective_moves_it() -> None:
    modulator, v, t = make(), unit(3, seed=1), unit(3, seed=2)
    loss = info_nce(v, t, modulator(0, batch(0, 1, 2), v, t))
    loss.backward()
    assert not torch.equal(modulator.tau_v2t[:3], make().tau_v2t[:3])
    assert torch.equal(modulator.tau_v2t[3:], make().tau_v2t[3:])


def test_saved_and_loaded_it_goes_on() -> None:
    one = make()
    (one(0, batch(0, 1), *[torch.zeros(2, 2)] * 2)[0] * torch.tensor([0.1, -0.2])).sum().backward()
    assert not list(one.parameters())
    two = IndividualTau(torch.full((6,), 0.3), **NUMBERS)
    two.load_state_dict(one.state_dict())
    for modulator in (one, two):
        taus(modulator, 1, 4)[0].sum().backward()
    for name, value in one.state_dict().items():
        assert torch.equal(two.state_dict()[name], value)


def test_captions_have_a_temperature_each() -> None:
    """Two captions of item 1 move their own tau, and both that of the item."""
    modulator = IndividualTau((torch.full((3,), 0.1), torch.full((6,), 0.2)), **NUMBERS)
    rows = torch.zeros(1, 2)
    for caption, slope in ((2, 1.0), (3, -1.0)):
        given = batch(1)._replace(caption=torch.tensor([caption]))
        v2t, t2v = modulator(0, given, rows, rows)
        assert (v2t.shape, t2v.tolist()) == ((1,), pytest.approx([0.2]))
        (0.5 * v2t + slope * t2v).sum().backward()
    assert modulator.tau_t2v.tolist() == pytest.approx([0.2, 0.2, 0.182, 0.218, 0.2, 0.2])
    moved = 0.01 * (0.9 * 1 + 0.99 * 1)  # by the momentum, first 0.9 and then 0.99 of the gradient
    assert modulator.tau_v2t.tolist() == pytest.approx([0.1, 0.1 - moved, 0.1])
    with pytest.raises(InputError, match=r"index of the captions\[0\] is 6; it must be in 0..5"):
        modulator(0, batch(1)._replace(caption=torch.tensor([6])), rows, rows)


def test_start_is_copied() -> None:
    start = torch.full((3,), 0.1)
    modulator = IndividualTau(start, **NUMBERS)
    taus(modulator, 0, 1)[0].sum().backward()
    assert start.tolist() == torch.full((3,), 0.1).tolist()
    assert modulator.tau_t2v.tolist() == start.tolist()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"tau_min": 0.0}, "tau_min 0.0, tau_max 0.5; 0 < tau_min <= tau_max must hold"),
        ({"tau_max": 0.005}, "tau_min 0.01, tau_max 0.005;"),
        ({"tau_max": 0.15}, r"start\[3\] is 0.16; it must be in tau_min..tau_max = 0.01..0.15"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be a finite number > 0"),
        ({"momentum": 1.5}, r"momentum is 1.5; it must be in \(0, 1\]"),
    ],
)
def test_numbers_are_checked_at_once(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**numbers)


def test_wrong_start_and_index() -> None:
    with pytest.raises(InputError, match=r"start has shape \(2, 2\); it must be \[samples\]"):
        IndividualTau(torch.ones(2, 2), **NUMBERS)
    with pytest.raises(InputError, match=r"start\[1\] is nan"):
        IndividualTau(torch.tensor([0.1, math.nan]), **NUMBERS)
    with pytest.raises(InputError, match=r"index\[1\] is 6; it must be in 0..5"):
        taus(make(), 0, 6)
    with pytest.raises(InputError, match=r"index\[2\] is 4, as in an earlier row"):
        taus(make(), 4, 0, 4)
