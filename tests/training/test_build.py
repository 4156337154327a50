"""Settings become the objective and the modulator that they name, with their numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch

from mmts.errors import InputError
from mmts.kinds.schedule import ScheduleKind
from mmts.losses import info_nce, max_margin
from mmts.losses.arctanh import arctanh_info_nce
from mmts.losses.cyclip import CyCLIP
from mmts.losses.siglip import SigLIP
from mmts.losses.sogclr import SogCLR
from mmts.method import Method
from mmts.modulators.individual import IndividualTau
from mmts.modulators.learnable import LearnableTau
from mmts.modulators.scheduled import ScheduledShift
from mmts.modulators.tempnet import TempNet
from mmts.training.batch import Batch
from mmts.training.build import build_modulator, build_objective, period
from tests import reference

SHIFTS = pd.DataFrame({"cluster_id": [0, 1], "cluster_size": [20, 4], "shift": [0.04, 0.02]})
# three items with 2, 1 and 2 captions
PAIRS: Any = SimpleNamespace(cluster_id=torch.tensor([1, 0, 0, 1, 1]), first=np.array([0, 2, 3, 5]))
ROWS = torch.nn.functional.normalize(torch.randn(3, 6, generator=torch.manual_seed(0)), dim=1)


def method(**changes: Any) -> Method:
    plain = {
        "objective": "sogclr", "alpha": 0.0, "shift_min": 0.02,
        "shift_max": 0.04, "shift": "linear", "clustering": "default",
    }  # fmt: skip
    return Method.model_validate({**plain, **changes})


def modulator(pairs: Any = PAIRS, **changes: Any) -> Any:
    return build_modulator(method(**changes), SHIFTS, pairs, total_steps=40, epochs=10, dim=6)


def test_functions() -> None:
    margin = method(objective="max_margin")
    smoothed: Any = build_objective(
        method(objective={"kind": "info_nce", "label_smoothing": 0.1}), 3
    )
    assert smoothed.func is info_nce
    assert smoothed.keywords == {"label_smoothing": 0.1, "anchors_only": False}
    assert build_objective(margin, 3) is max_margin
    assert build_objective(method(objective="arctanh"), 3) is arctanh_info_nce


def test_modules_and_their_numbers() -> None:
    siglip = build_objective(method(objective={"kind": "siglip", "bias": -3.0}), 3)
    assert isinstance(siglip, SigLIP) and siglip.bias.item() == -3
    cyclip: Any = build_objective(
        method(objective={"kind": "cyclip", "inmodal": 0.5, "crossmodal": 0.0}), 3
    )
    assert isinstance(cyclip, CyCLIP) and (cyclip.inmodal, cyclip.crossmodal) == (0.5, 0)
    sogclr: Any = build_objective(method(objective={"kind": "sogclr", "gamma": 0.3, "rho": 2.0}), 7)
    assert isinstance(sogclr, SogCLR)
    assert (sogclr.gamma, sogclr.rho, sogclr.samples, sogclr.captions) == (0.3, 2, 7, 7)
    assert sogclr.floor == 1e-14  # the authors'
    several: Any = build_objective(method(objective={"kind": "sogclr", "floor": 0.0}), 7, 35)
    assert (several.samples, several.captions, several.floor) == (7, 35, 0)


def test_the_schedule_moves_every_step_or_every_epoch() -> None:
    batch = Batch({}, ROWS, torch.tensor([0, 1, 1]), torch.arange(3))
    for every, hold in (("step", 1), ("epoch", 4)):
        moves = {"kind": "cosine", "oscillations": 2.0, "update_every": every}
        found = modulator(alpha=0.02, schedule=moves)
        assert isinstance(found, ScheduledShift)
        for step in range(12):
            base = reference.tau_base(step // hold * hold, 0.02, 20)
            wanted = [base + shift for shift in (0.04, 0.02, 0.02)]
            assert found(step, batch, ROWS, ROWS).tolist() == pytest.approx(wanted)
    assert period(method(schedule=moves), 40) == 20 and period(method(), 40) is None


class Late(ScheduleKind):
    """A schedule that is in its range but for short trainings."""

    kind: Literal["late"] = "late"
    label = "late"

    def value(self, step: float, *, alpha: float, period: float) -> float:
        return alpha if period < 20 else 0.0


def test_the_range_of_a_schedule_is_tried_on_the_steps_that_there_are() -> None:
    with pytest.raises(InputError, match=r"schedule late has the value 0\.02 at step 0 of 40, b"):
        modulator(alpha=0.02, schedule=Late())


def test_a_learnable_tau_starts_at_the_shift() -> None:
    found = modulator(shift_min=0.04, modulator={"kind": "learnable", "scale_max": 40})
    assert isinstance(found, LearnableTau) and found.scale_max == 40
    assert found(0, None, ROWS, ROWS).item() == pytest.approx(0.04)


def test_individual_taus_start_at_the_shift_of_each_captions_cluster() -> None:
    kind = {"kind": "individual", "tau_min": 0.02, "tau_max": 0.04, "learning_rate": 0.5}
    found = modulator(modulator={**kind, "momentum": 0.7})
    assert isinstance(found, IndividualTau)
    assert found.tau_v2t.tolist() == pytest.approx([0.02, 0.04, 0.02])  # of its first caption
    assert found.tau_t2v.tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02, 0.02])
    assert (found.learning_rate, found.momentum) == (0.5, 0.7)


def test_tempnet_predicts_in_a_range_of_its_own() -> None:
    kind = {"kind": "tempnet", "tau_min": 0.01, "tau_max": 0.05, "prototypes": 5, "dropout": 0.0}
    found = modulator(modulator=kind)
    assert isinstance(found, TempNet) and (found.tau_min, found.tau_max) == (0.01, 0.05)
    assert found.vision.prototypes.shape == (5, 6)
    assert [found.rate(step) for step in (0, 3, 4)] == pytest.approx([3e-5, 3e-5, 2.7e-5])
    taus = torch.cat(found(0, None, ROWS, ROWS))
    assert taus.min() > 0.01 and taus.max() < 0.05


@pytest.mark.parametrize("kind", ["scheduled", "individual"])
def test_a_cluster_that_the_shift_table_lacks(kind: str) -> None:
    pairs = SimpleNamespace(cluster_id=torch.tensor([0, 2]), first=np.array([0, 1, 2]))
    with pytest.raises(InputError, match="cluster_id 2 of a training row is not in the shift"):
        modulator(pairs, modulator=kind)
