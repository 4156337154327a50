import math

import pytest
import torch

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.modulators.learnable import LearnableTau
from tests.losses.test_info_nce import unit
from tests.modulators.test_scheduled import NOTHING, batch


def tau_of(modulator: LearnableTau) -> torch.Tensor:
    tau = modulator(0, batch(0, 0), NOTHING, NOTHING)
    assert isinstance(tau, torch.Tensor) and tau.shape == () and tau.dtype == torch.float32
    return tau


def test_starts_at_tau_and_learns_the_log_of_the_scale() -> None:
    modulator = LearnableTau(0.07)
    assert (
        list(modulator.state_dict())
        == ["log_scale"]
        == [n for n, _ in modulator.named_parameters()]
    )
    assert modulator.log_scale.item() == pytest.approx(math.log(1 / 0.07))
    tau = tau_of(modulator)
    assert tau.item() == pytest.approx(0.07)
    tau.backward()
    assert modulator.log_scale.grad is not None
    assert modulator.log_scale.grad.item() == pytest.approx(-0.07)  # d exp(-x) / dx


def test_gradient_through_the_loss_is_that_of_clips_logit_scale() -> None:
    v, t, target = unit(6, seed=1), unit(6, seed=2), torch.arange(6)
    modulator = LearnableTau(0.1).double()
    info_nce(v, t, modulator(0, batch(0), v, t)).backward()
    scale = torch.tensor(math.log(10), dtype=torch.float64, requires_grad=True)
    logits = scale.exp() * v @ t.T
    entropy = torch.nn.functional.cross_entropy
    ((entropy(logits, target) + entropy(logits.T, target)) / 2).backward()
    assert modulator.log_scale.grad is not None and scale.grad is not None
    assert modulator.log_scale.grad.item() == pytest.approx(scale.grad.item(), rel=1e-6)


def test_the_scale_is_held_and_comes_back() -> None:
    modulator = LearnableTau(0.02)
    with torch.no_grad():
        modulator.log_scale.fill_(9.0)
    tau = tau_of(modulator)
    assert tau.item() == pytest.approx(0.01)
    assert modulator.log_scale.item() == pytest.approx(math.log(100))
    optimizer = torch.optim.SGD(modulator.parameters(), lr=1.0)
    (-tau).backward()  # wants a higher tau; a clamped copy would have no gradient
    optimizer.step()
    assert tau_of(modulator).item() > 0.01


def test_start_at_the_bound_is_allowed() -> None:
    assert tau_of(LearnableTau(0.01)).item() == pytest.approx(0.01)
    assert tau_of(LearnableTau(0.5, scale_max=2.0)).item() == pytest.approx(0.5)


@pytest.mark.parametrize("tau", [0.009, 0.0, -1.0, math.nan, math.inf])
def test_wrong_start(tau: float) -> None:
    with pytest.raises(InputError, match=rf"tau is {tau}; it must be finite and >= 1 / scale_max"):
        LearnableTau(tau)


def test_wrong_bound() -> None:
    with pytest.raises(InputError, match="scale_max is 0"):
        LearnableTau(0.1, scale_max=0)


def test_tau_itself_moves_by_the_learning_rate() -> None:
    """A step of Adam is its rate: of tau in VAST's form, of log(1 / tau) in CLIP's."""
    for form, wanted in (("tau", 0.07 - 0.01), ("log", 0.07 * math.exp(-0.01))):
        modulator = LearnableTau(0.07, parameter=form)
        step = torch.optim.Adam(modulator.parameters(), lr=0.01)
        tau_of(modulator).backward()
        step.step()
        assert tau_of(modulator).item() == pytest.approx(wanted, abs=1e-6)
    low = LearnableTau(0.002, parameter="tau", scale_max=1000.0)
    with torch.no_grad():
        low.tau.fill_(-1.0)
    assert tau_of(low).item() == pytest.approx(0.001)
