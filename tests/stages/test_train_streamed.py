"""The train stage as a command on two ranks, its shards behind a URL, killed in mid-epoch."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.faults.ranks import cell, ended, pair, saved, undisturbed, until, written

pytestmark = pytest.mark.long
EPOCHS, STEPS, SAVED = 6, 4, 7  # each seventh of 24 steps is in mid-epoch


def test_killed_and_gone_on_with_is_bit_equal(project: Project, tmp_path: Path) -> None:
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
        "train__checkpoint": {"every_steps": SAVED, "every_minutes": 0},
    }  # fmt: skip
    project.set(**{f"{tiny}{key}": value for key, value in settings.items()})
    assert project.run("plan").code == 0
    wanted = undisturbed(tmp_path / "told")
    both = pair(tmp_path / "told")
    until(saved, both[0])
    for rank in both:
        rank.signal_all(signal.SIGKILL)
    assert [ran.code for ran in ended(both)] == [-signal.SIGKILL] * 2
    assert not cell().exists()  # nothing half-written
    first, second = ended(pair(tmp_path / "told"))
    assert first.code == second.code == 0, (first, second)
    found = re.search(r"goes on from data/cache/checkpoints/tiny/mmts/0/\S*step-(\d+)", first.out)
    assert found is not None and int(found[1]) % STEPS != 0, first
    assert f"{EPOCHS * STEPS} steps in" in first.out and written() == wanted
