"""The train stage as a command on two ranks, its shards behind a URL, killed in mid-epoch."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.stages import test_train_processes as processes
from tests.stages.test_train_processes import TRAIN, TWO, finished, kill_after_a_checkpoint, weights

pytestmark = pytest.mark.long
EPOCHS, STEPS, SAVED = 6, 4, 7  # each seventh of 24 steps is in mid-epoch


def test_killed_and_gone_on_with_is_bit_equal(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "TRAIN", ("-m", "torch.distributed.run", *TWO[1:], *TRAIN))
    shards = sorted(Path("data/shards/tiny").glob("train-*.tar"))
    away = project.root / "away"
    away.mkdir()
    for shard in shards:
        shard.rename(away / shard.name)
    tiny = "datasets__tiny__"
    settings = {
        "towers__vision": {
            "name": "small_cnn", "weights": "random", "frozen": False, "image_size": 16,
        },
        "train__stream": {"url": f"pipe:sleep 0.4; cat '{away}/{{}}'", "buffer": 4},  # time to kill
        "train__workers": 1, "train__epochs": EPOCHS,
        "train__batch_size": 4, "train__log_every": 20, "train__validate_every": EPOCHS,
        "train__checkpoint": {"every_steps": SAVED, "every_minutes": None},
    }  # fmt: skip
    project.set(**{f"{tiny}{key}": value for key, value in settings.items()})
    code, said = finished()
    assert code == 0 and "processes: 2" in said and f"{EPOCHS * STEPS} steps in" in said, said
    undisturbed = weights()
    kill_after_a_checkpoint(2, signal.SIGKILL)
    assert weights() == undisturbed  # nothing half-written
    code, said = finished()
    assert code == 0, said
    found = re.search(r"goes on from data/cache/checkpoints/tiny/mmts/0/\S*step-(\d+)", said)
    assert found is not None and int(found[1]) % STEPS != 0, said
    assert weights() == undisturbed
