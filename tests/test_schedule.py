import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmts.errors import InputError
from mmts.schedule import AutoRange, auto_range, per_sample_tau, tau_base
from tests import reference


def test_by_hand() -> None:
    assert tau_base(0, alpha=0.2, period=100) == pytest.approx(0.1)
    assert tau_base(25, alpha=0.2, period=100) == pytest.approx(0.0, abs=1e-12)
    assert tau_base(50, alpha=0.2, period=100) == pytest.approx(-0.1)
    assert tau_base(100, alpha=0.2, period=100) == pytest.approx(0.1)
    assert tau_base(100 / 6, alpha=0.2, period=100) == pytest.approx(0.05)


@given(st.integers(0, 10**6), st.floats(0, 10), st.floats(1, 1e6))
def test_is_eq_7_and_stays_in_its_range(step: int, alpha: float, period: float) -> None:
    found = tau_base(step, alpha=alpha, period=period)
    assert found == pytest.approx(reference.tau_base(step, alpha, period), abs=1e-6)
    assert abs(found) <= alpha / 2


def test_alpha_0_switches_it_off() -> None:
    assert [tau_base(s, alpha=0, period=7) for s in range(20)] == [0.0] * 20


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf])
def test_alpha_must_be_a_number_from_0(alpha: float) -> None:
    with pytest.raises(InputError, match=f"alpha is {alpha}; .*>= 0"):
        tau_base(1, alpha=alpha, period=10)


@pytest.mark.parametrize("period", [0, -5, math.nan, math.inf])
def test_period_must_be_above_0(period: float) -> None:
    with pytest.raises(InputError, match=f"period is {period}; .*> 0"):
        tau_base(1, alpha=0.1, period=period)


def test_tau_of_a_sample_is_base_plus_shift() -> None:
    shift = torch.tensor([0.05, 0.1, 0.2], dtype=torch.float64, requires_grad=True)
    tau = per_sample_tau(-0.02, shift)
    assert tau.dtype == torch.float64
    torch.testing.assert_close(tau.detach(), torch.tensor([0.03, 0.08, 0.18], dtype=torch.float64))
    tau.sum().backward()
    assert shift.grad is not None and shift.grad.tolist() == [1, 1, 1]


def test_the_automatic_range_by_hand() -> None:
    assert auto_range(0.08) == AutoRange(alpha=0.08, shift_min=0.06, shift_max=0.1)


@given(st.floats(1e-3, 10))
def test_the_automatic_range_keeps_the_papers_rule(fixed: float) -> None:
    alpha, low, high = auto_range(fixed)
    assert fixed - alpha / 2 > 0
    assert fixed - alpha / 2 <= low < fixed < high <= fixed + alpha / 2
    lowest = low + tau_base(50, alpha=alpha, period=100)
    assert lowest == pytest.approx(fixed / 4) and lowest > 0


@pytest.mark.parametrize("fixed", [0, -0.1, math.nan, math.inf])
def test_the_automatic_range_needs_a_number_above_0(fixed: float) -> None:
    with pytest.raises(InputError, match=f"fixed is {fixed}; .*> 0"):
        auto_range(fixed)


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.bool])
def test_cluster_ids_in_place_of_shifts(kind: torch.dtype) -> None:
    with pytest.raises(InputError, match=f"shift is {kind}; .* look up the shift of each cluster"):
        per_sample_tau(0.01, torch.tensor([1, 0, 1], dtype=kind))


@pytest.mark.parametrize("shift", [np.array([0.1, 0.2]), [0.1, 0.2], 0.1])
def test_shifts_that_are_no_tensor(shift: object) -> None:
    with pytest.raises(InputError, match=f"shift is a {type(shift).__name__}; .* torch.from_numpy"):
        per_sample_tau(0.01, shift)  # type: ignore[arg-type]
