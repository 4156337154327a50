import numpy as np
import pandas as pd
import pytest
import torch

from mmts.errors import InputError
from mmts.modulators.scheduled import ScheduledShift
from mmts.training.batch import Batch
from tests import reference


def table(**shifts: float) -> pd.DataFrame:
    ids = [int(name[1:]) for name in shifts]
    frame = pd.DataFrame(
        {"cluster_id": np.array(ids, dtype=np.int32), "shift": list(shifts.values())}
    )
    return frame.assign(cluster_size=1)


def batch(*cluster_id: int) -> Batch:
    ids = torch.tensor(cluster_id)
    return Batch({}, torch.zeros(len(ids), 2), ids, torch.arange(len(ids)))


NOTHING = torch.zeros(0)


def test_tau_is_eq_7_plus_the_clusters_shift() -> None:
    modulator = ScheduledShift(table(c0=0.2, c2=0.05, c1=0.1), alpha=0.04, period=40)
    for step in (0, 10, 13, 20, 40):
        base = reference.tau_base(step, 0.04, 40)
        found = modulator(step, batch(2, 0, 1, 2), NOTHING, NOTHING)
        wanted = torch.tensor([0.05, 0.2, 0.1, 0.05]) + base
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted)


def test_the_four_methods() -> None:
    flat, bent = table(c0=0.07, c1=0.07), table(c0=0.05, c1=0.2)
    pair = batch(0, 1)

    def taus(shifts: pd.DataFrame, alpha: float) -> list[list[float]]:
        modulator = ScheduledShift(shifts, alpha=alpha, period=10)
        return [modulator(s, pair, NOTHING, NOTHING).tolist() for s in (0, 5)]

    baseline, ts, ics, mmts = taus(flat, 0), taus(flat, 0.06), taus(bent, 0), taus(bent, 0.06)
    np.testing.assert_allclose(baseline, [[0.07, 0.07]] * 2, atol=1e-7)
    np.testing.assert_allclose(ts, [[0.1, 0.1], [0.04, 0.04]], atol=1e-7)
    np.testing.assert_allclose(ics, [[0.05, 0.2]] * 2, atol=1e-7)
    np.testing.assert_allclose(mmts, [[0.08, 0.23], [0.02, 0.17]], atol=1e-7)


def test_hold_moves_the_base_once_in_so_many_steps() -> None:
    modulator = ScheduledShift(table(c0=0.2), alpha=0.1, period=12, hold=3)
    for step in range(13):
        base = reference.tau_base(3 * (step // 3), 0.1, 12)
        found = modulator(step, batch(0, 0), NOTHING, NOTHING)
        np.testing.assert_allclose(found, [0.2 + base] * 2, rtol=1e-6)


def test_shifts_are_saved_with_it() -> None:
    modulator = ScheduledShift(table(c0=0.2, c1=0.1), alpha=0, period=1)
    assert list(modulator.state_dict()) == ["shift_of"] and not list(modulator.parameters())
    other = ScheduledShift(table(c0=0.9, c1=0.9), alpha=0, period=1)
    other.load_state_dict(modulator.state_dict())
    torch.testing.assert_close(other(0, batch(1, 0), NOTHING, NOTHING), torch.tensor([0.1, 0.2]))


@pytest.mark.parametrize("unknown", [-1, 1, 3])
def test_a_cluster_without_a_shift(unknown: int) -> None:
    modulator = ScheduledShift(table(c0=0.2, c2=0.1), alpha=0, period=1)
    modulator.check(torch.tensor([0, 2, 2]))
    with pytest.raises(InputError, match=f"cluster_id {unknown} of a training row is not in"):
        modulator.check(torch.tensor([0, unknown, 2]))


def test_numbers_are_checked_at_once() -> None:
    with pytest.raises(InputError, match="alpha is -1"):
        ScheduledShift(table(c0=0.2), alpha=-1, period=1)
    with pytest.raises(InputError, match="period is 0"):
        ScheduledShift(table(c0=0.2), alpha=0.1, period=0)
    with pytest.raises(InputError, match="hold is 0; it must be a number of steps >= 1"):
        ScheduledShift(table(c0=0.2), alpha=0.1, period=1, hold=0)


def test_a_schedule_that_leaves_its_range_is_refused_in_the_step() -> None:
    """What no probe of some steps has seen."""

    def jumping(step: float, *, alpha: float, period: float) -> float:
        return alpha * (step == 7)

    modulator = ScheduledShift(table(c0=0.2), alpha=0.1, period=10, schedule=jumping)
    modulator(6, batch(0), NOTHING, NOTHING)
    with pytest.raises(InputError, match=r"the schedule has the value 0\.1 at step 7, outside of"):
        modulator(7, batch(0), NOTHING, NOTHING)
