"""The train stage as a command: killed and gone on with, on one process and under torchrun."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from tests.conftest import Project

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
TRAIN = ("-m", "stages.train", "--dataset", "tiny", "--method", "mmts", "--seed", "0")
CELL = Path("data/train/tiny/mmts/0")
TWO = ["torchrun", "--standalone", "--nproc-per-node", "2"]


LONG: dict[str, Any] = {
    "datasets__tiny__train__epochs": 150, "datasets__tiny__train__batch_size": 8,
    "datasets__tiny__train__log_every": 50, "datasets__tiny__train__validate_every": 50,
    "datasets__tiny__train__checkpoint": {"every_steps": 7, "every_minutes": None},
}  # fmt: skip


def start(disk: int | None = None) -> subprocess.Popen[str]:
    """The command; `disk` limits the size of each file that it writes."""

    def limit() -> None:
        if disk is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))

    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *TRAIN], env=env, text=True, start_new_session=True, preexec_fn=limit,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finished() -> tuple[int, str]:
    process = start()
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def kill_after_a_checkpoint(seed: int, number: int) -> None:
    """Start the command, and kill it (or its launcher and all ranks) once it has saved."""
    process = start()
    give_up = time.monotonic() + 60
    while not list(Path("data/cache/checkpoints").rglob("step-*/SHA256SUMS")):
        assert process.poll() is None and time.monotonic() < give_up, process.communicate()
        time.sleep(0.01)
    time.sleep(random.Random(seed).random() * 0.05)
    launcher = psutil.Process(process.pid)
    for one in [launcher, *launcher.children(recursive=True)]:  # ranks have sessions of their own
        one.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0


def weights() -> dict[str, bytes]:
    return {
        name: (CELL / name).read_bytes()
        for name in ("model.safetensors", "state.safetensors", "metrics.json", "curves.csv")
    }


@pytest.fixture
def slow(project: Project) -> Project:
    """Enough steps to be killed in the middle of, saved after each second one."""
    project.set(**LONG)
    return project


@pytest.mark.parametrize("launcher", [None, TWO])
def test_killed_and_gone_on_with_is_bit_equal(slow: Project, launcher: list[str] | None) -> None:
    epochs = {"datasets__tiny__train__epochs": 150 if launcher is None else 60}
    slow.set(**{**LONG, **epochs}, datasets__tiny__train__launcher=launcher)
    code, said = finished()
    assert code == 0, said
    undisturbed = weights()
    assert not list(Path("data/cache/checkpoints").rglob("step-*"))
    kill_after_a_checkpoint(1, signal.SIGKILL)
    assert weights() == undisturbed  # nothing half-written
    code, said = finished()
    assert code == 0 and "goes on from data/cache/checkpoints/tiny/mmts/0/" in said, said
    assert weights() == undisturbed


def test_sigterm_saves_and_ends_with_143(slow: Project) -> None:
    process = start()
    while not list(Path("data/cache/checkpoints").rglob("step-*/SHA256SUMS")):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopped by SIGTERM after step" in err and "Traceback" not in err
    before = {p: p.read_bytes() for p in Path("data/cache/checkpoints").rglob("*") if p.is_file()}
    _, err = (process := start(disk=3_000)).communicate(timeout=120)  # a full disk, as it were
    assert process.returncode == 1, err
    assert re.fullmatch(r"error: \S+ could not be written \(.*\); make room there: .*\n", err), err
    assert all(path.read_bytes() == data for path, data in before.items()) and len(before) > 4
    code, said = finished()
    assert code == 0 and "goes on from" in said


def test_two_processes_train_as_one(project: Project) -> None:
    code, said = finished()
    assert code == 0 and "processes: 1" in said, said
    alone = pd.read_csv(CELL / "curves.csv")
    project.set(datasets__tiny__train__launcher=TWO)
    code, said = finished()
    assert code == 0 and "processes: 2" in said, said
    two = pd.read_csv(CELL / "curves.csv")
    np.testing.assert_allclose(two, alone, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_two_processes_tell_an_error_once(project: Project) -> None:
    project.set(datasets__tiny__train__launcher=TWO, datasets__tiny__train__batch_size=15)
    code, said = finished()
    told = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 1 and told == [
        "error: train.batch_size 15 is no multiple of the 2 processes; change one of them"
    ], said


def test_a_launcher_that_is_no_program(project: Project) -> None:
    project.set(datasets__tiny__train__launcher=["torchrunn"])
    code, said = finished()
    assert code == 1
    assert said == "error: train.launcher starts with torchrunn, which is no program here\n"
