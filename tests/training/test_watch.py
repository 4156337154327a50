"""Numbers that are none any more: told with step, tau and samples; the checkpoint before stays."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.losses import info_nce
from mmts.modulators.learnable import LearnableTau
from mmts.modulators.scheduled import ScheduledShift
from mmts.towers.two_tower import TwoTower
from mmts.training.loop import train
from tests.making_run import checkpoints
from tests.training.test_loop import FROZEN, SHIFTS, feature_pairs, settings


class Breaking:
    """info_nce that makes a loss, or the weights before a step, NaN at its fifth call."""

    def __init__(self, model: TwoTower | None) -> None:
        self.calls, self.model = 0, model

    def __call__(self, v: Tensor, t: Tensor, tau: Tensor, **_: Any) -> Tensor:
        self.calls += 1
        if self.model is None:
            return info_nce(v, t, tau) * (math.nan if self.calls == 5 else 1)
        if self.calls == 5:
            self.model.text_head[2].weight.data.fill_(math.nan)  # type: ignore[index,union-attr]
        return info_nce(v, t, tau)


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize(("of", "step"), [("loss", 4), ("features", 5)])
def test_the_first_bad_step_is_told(tmp_path: Path, of: str, step: int, learnable: bool) -> None:
    """Though nobody looks before step 9; whatever the steps after it make of NaN weights."""
    torch.manual_seed(0)
    chosen = settings(epochs=4, log_every=9)
    model = TwoTower(FROZEN, chosen.head, {"vision": 12, "text": 10})
    modulator = LearnableTau(0.1) if learnable else ScheduledShift(SHIFTS, alpha=0.1, period=6)
    keeper = checkpoints(tmp_path, every_steps=4)
    pairs = feature_pairs()
    with pytest.raises(InputError) as caught:
        train(model, Breaking(model if of == "features" else None), modulator, pairs, None,
              chosen, 0, None, keeper=keeper)  # fmt: skip
    told = str(caught.value)
    taus = r"0\.1\d* to 0\.1\d*" if learnable else r"0\.\d+ to 0\.\d+"
    pattern = (
        rf"not finite at step {step} \(tau {taus}; samples (\d+, ){{4}}\d+ and 3 more\); lower"
    )
    assert caught.match(pattern) and "\n" not in told
    assert [p.name for p in keeper.folder.iterdir()] == ["step-000000004"]
