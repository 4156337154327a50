"""The train stage on two ranks, one of which is killed, hangs, or has a problem of its own."""

from __future__ import annotations

import importlib
import os
import re
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import patience
from tests.conftest import Project
from tests.faults import ranks
from tests.faults.ranks import (
    CHECKPOINTS,
    TRAIN,
    TWO,
    cell,
    ended,
    forget,
    pair,
    saved,
    until,
    written,
)
from tests.faults.started import Started, run, start
from tests.faults.test_disk_full import PAGE, on_a_full_disk

pytestmark = pytest.mark.long
AGAIN = "the same command goes on from the last checkpoint"
LONG: dict[str, Any] = {
    "datasets__tiny__train__epochs": 80, "datasets__tiny__train__batch_size": 8,
    "datasets__tiny__train__log_every": 50, "datasets__tiny__train__validate_every": 15,
    "datasets__tiny__train__checkpoint": {"every_steps": 7, "every_minutes": 0},
}  # fmt: skip
LONGER = {**LONG, "datasets__tiny__train__epochs": 250}  # for one process, which is quicker
ENDLESS = {**LONG, "datasets__tiny__train__epochs": 2000, "datasets__tiny__train__launcher": TWO}


@pytest.fixture
def slow(project: Project) -> Project:
    """Enough steps to be killed in the middle of; each seventh is saved, in the midst of epochs."""
    project.set(**LONG)
    return project


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told"


def stopped(ranks_: list[Started], killed: int) -> None:
    """The other rank ends by itself, and says which one is lost."""
    other = 1 - killed
    with patience.within(30):
        ran = ranks_[other].wait()
    # torch, loaded before the command could hush it, may print stacks of C++ from two threads
    ours = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    wanted = f"error: process {killed} of 2 was lost, killed or cut off; {AGAIN}"
    assert (ran.code, ours) == (1, [wanted]) and "Traceback" not in ran.err, ran
    assert ranks_[killed].wait().code == -signal.SIGKILL


def test_a_rank_is_killed_and_both_go_on(slow: Project, told: Path) -> None:
    """Rank 1 in the middle of an epoch, then rank 0 while it writes a checkpoint."""
    wanted = ranks.undisturbed(told)
    assert not saved()
    both = pair(told)
    until(saved, both[0])
    both[1].signal(signal.SIGKILL)
    stopped(both, 1)
    assert not cell().exists()  # nothing half-written
    both = pair(told)
    until(ranks.begun, both[0])
    both[0].signal(signal.SIGKILL)
    stopped(both, 0)
    assert not cell().exists() and saved()
    first, second = ended(pair(told))
    assert first.code == second.code == 0 and first.err == second.err == ""
    assert f"goes on from {CHECKPOINTS}/" in first.out
    assert written() == wanted and not saved()


def test_alone_it_is_killed_and_goes_on(slow: Project, told: Path) -> None:
    slow.set(**LONGER)
    assert run(*TRAIN, told=told).code == 0
    wanted = written()
    forget()
    process = start(*TRAIN, told=told)
    until(saved, process)
    process.signal(signal.SIGKILL)
    assert process.wait().code == -signal.SIGKILL and not cell().exists()
    ran = run(*TRAIN, told=told)
    assert ran.code == 0 and f"goes on from {CHECKPOINTS}/" in ran.out
    assert written() == wanted


def test_a_rank_that_hangs_counts_as_lost(slow: Project, told: Path) -> None:
    """As a machine without power: no connection is closed, no launcher tells."""

    silence = round(5 * patience.slowness())

    def impatient(_: int) -> None:
        from mmts.training import pulse

        pulse.SILENCE = silence

    both = pair(told, impatient)
    until(saved, both[0])
    both[0].signal(signal.SIGSTOP)  # the one that all meet at
    try:
        ran = both[1].wait()
    finally:
        both[0].signal(signal.SIGKILL)
    assert ran.code == 1 and ran.err == (
        f"error: process 0 of 2 has not been heard of for {silence} s and counts as lost; {AGAIN}\n"
    )


def test_torchrun_loses_a_rank_then_is_killed_itself(slow: Project, told: Path) -> None:
    """One line instead of torchrun's page, and no rank that goes on without it."""
    slow.set(**ENDLESS)
    launcher = start(*TRAIN, told=told)
    until(saved, launcher)
    of = ranks.beneath(launcher)
    of[1].kill()
    ran = launcher.wait()
    assert (ran.code, ran.err) == (
        1, "error: process 1 of the training was killed (SIGKILL), and the others were ended; "
        f"{AGAIN}\n",
    )  # fmt: skip
    assert "processes: 2" in ran.out and ranks.gone(list(of.values()))
    last = saved()[-1]
    launcher = start(*TRAIN, told=told)
    until(lambda: saved()[-1:] not in ([], [last]), launcher)
    of = ranks.beneath(launcher)
    launcher.signal(signal.SIGKILL)
    ran = launcher.wait()
    assert ranks.gone(list(of.values()))
    ran = launcher.wait()  # with what the ranks have said at last
    assert ran.code == -signal.SIGKILL and f"goes on from {last.parent}" in ran.out
    assert re.match(r"stopped by SIGTERM after step \d+ of 4000; \S+ is saved", ran.err), ran


def test_torchrun_on_a_full_disk(slow: Project, told: Path) -> None:
    """Of the two one tells, and the checkpoint before stays."""
    both = pair(told)
    until(saved, both[0])
    both[1].signal(signal.SIGKILL)
    stopped(both, 1)
    slow.set(**LONG, datasets__tiny__train__launcher=TWO)
    stage, *arguments = TRAIN
    found = on_a_full_disk(stage, tuple(arguments), "data/cache", 3 * PAGE, told, again=False)
    line = r"error: \S+/\.step-\d+\.partial could not be written \(the disk is full\); make room .*"
    assert found.code == 1 and re.fullmatch(rf"{line}goes on from \S+/step-\d+\n", found.err), found
    assert found.same


def test_a_signal_to_torchrun_saves_and_ends_with_143(slow: Project, told: Path) -> None:
    slow.set(**ENDLESS)
    launcher = start(*TRAIN, told=told)
    until(saved, launcher)
    of = ranks.beneath(launcher)
    launcher.signal(signal.SIGTERM)
    ran = launcher.wait()
    assert ran.code == 143 and ranks.gone(list(of.values()))
    assert re.fullmatch(r"stopped by SIGTERM after step \d+ of 4000; \S+ is saved, .*\n", ran.err)


def test_sigterm_saves_and_ends_with_143(slow: Project, told: Path) -> None:
    slow.set(**LONGER)
    process = start(*TRAIN, told=told)
    until(saved, process)
    process.signal(signal.SIGTERM)
    ran = process.wait()
    assert ran.code == 143 and ran.err.startswith("stopped by SIGTERM after step")
    before = {p: p.read_bytes() for p in CHECKPOINTS.rglob("*") if p.is_file()}

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))  # another full disk, as it were

    ran = run(*TRAIN, told=told, prepare=limit)
    assert ran.code == 1, ran
    assert re.fullmatch(r"error: \S+ could not be written \(.*\); make room there.*\n", ran.err)
    assert all(path.read_bytes() == data for path, data in before.items()) and len(before) > 4
    ran = run(*TRAIN, told=told)
    assert ran.code == 0 and "goes on from" in ran.out


def sigterm_in(place: str) -> None:
    """Send SIGTERM to this process before and after each call of a function."""
    module, _, path = place.partition(":")
    owner, name = importlib.import_module(module), path
    if "." in path:
        of, name = path.split(".")
        owner = getattr(owner, of)
    original = getattr(owner, name)

    def called(*args: Any, **more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            return original(*args, **more)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    setattr(owner, name, called)


@pytest.mark.parametrize(
    ("place", "steps", "code"),
    [
        ("mmts.training.prepared:prepare", 0, 143),
        ("mmts.training.log:RunLog.__enter__", 0, 143),
        ("mmts.training.saver:Saver.resume", 0, 143),
        ("mmts.training.loop:validate", 4, 143),
        ("mmts.training.speed:Speedometer.speed", 4, 143),
        ("stages.train:save", 4, 143),
        ("mmts.training.log:RunLog.__exit__", 0, 0),
        ("mmts.training.checkpoint:Checkpoints.clear", 0, 0),
        ("mmts.training.speed:told", 0, 0),
        ("mmts.training.signals:deaf", 0, 0),
    ],
)
def test_sigterm_before_the_first_step_and_after_the_last(
    project: Project, told: Path, place: str, steps: int, code: int
) -> None:
    """It saves where there is something to save, and an output that is complete stays one."""
    assert run(*TRAIN, told=told).code == 0
    wanted = written()
    for name in wanted:
        (cell() / name).write_bytes(b"old")
    old = written()
    assert not saved()

    def prepare() -> None:
        sigterm_in(place)

    ran = run(*TRAIN, told=told, prepare=prepare)
    assert (ran.code, written()) == (code, old if code else wanted), ran
    assert [path.parent.name for path in saved()] == [f"step-{steps:09d}"] * bool(steps)
    line = rf"stopped by SIGTERM after step 4 of 4; {CHECKPOINTS}/\S+ is saved, .*\n"
    assert re.fullmatch(line if steps else "", ran.err), ran
    if code:
        ran = run(*TRAIN, told=told)
        assert (ran.code, ran.err, written(), saved()) == (0, "", wanted, [])
        assert ("goes on from" in ran.out) == bool(steps)


@pytest.mark.parametrize("damaged", ["model.safetensors", "rank-1.pt", "shard"])
def test_a_flipped_bit_is_told_once(slow: Project, told: Path, damaged: str) -> None:
    """By rank 0, which looks at all files."""
    if damaged == "shard":
        path = min(Path("data/shards/tiny").glob("train-*.tar"))
    else:
        both = pair(told)
        until(saved, both[0])
        both[1].signal(signal.SIGKILL)
        stopped(both, 1)
        path = saved()[-1].with_name(damaged)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    first, second = ended(pair(told, ranks.rank_0_tells))
    assert (first.code, second.code, second.err) == (1, 1, "")
    assert re.fullmatch(rf"error: .*{path.name}.*\n", first.err), first


def test_two_processes_train_as_one(project: Project, told: Path) -> None:
    forget()
    ran = run(*TRAIN, told=told)
    assert ran.code == 0 and "processes: 1" in ran.out, ran
    alone = pd.read_csv(cell() / "curves.csv")
    forget()
    first, second = ended(pair(told))
    assert first.code == second.code == 0 and "processes: 2" in first.out and second.out == ""
    two = pd.read_csv(cell() / "curves.csv")
    np.testing.assert_allclose(two, alone, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_two_processes_do_not_train_a_finished_seed_again(project: Project, told: Path) -> None:
    assert run(*TRAIN, told=told).code == 0
    wanted, path = written(), cell()
    made = path.stat().st_ino
    first, second = ended(pair(told))
    assert (first.code, second.code, first.err, second.err) == (0, 0, "", "")
    line = f"{path} has the result; `dvc repro` takes it from there\n"
    assert (first.out, second.out) == (line, "")
    assert written() == wanted and path.stat().st_ino == made


def test_two_processes_train_one_seed(project: Project, told: Path) -> None:
    """All of the grid's would need a launcher that starts anew. (torchrun ends who tells later.)"""
    first, second = ended(pair(told, command=TRAIN[: TRAIN.index("--seed")]))
    assert first.code == second.code == 1
    assert (
        first.err
        == second.err
        == (
            "error: processes that a launcher has started train one seed; give --seed, or name the "
            "launcher in train.launcher and run `dvc repro`\n"
        )
    )


def test_two_processes_tell_an_error_once(project: Project, told: Path) -> None:
    project.set(datasets__tiny__train__batch_size=15)
    first, second = ended(pair(told, ranks.rank_0_tells))
    assert (first.code, second.code, second.err) == (1, 1, "")
    assert first.err == (
        "error: train.batch_size 15 is no multiple of the 2 processes; change one of them\n"
    )


@pytest.mark.parametrize(
    ("launcher", "line"),
    [
        (["torchrunn"], r"train.launcher starts with torchrunn, which is no program here \(.*\)"),
        (
            ["torchrun", "--nproc-per-node", "many"],
            r"train.launcher: torchrun does not start \(.*many.*\)",
        ),
    ],
)
def test_a_launcher_that_does_not_start(
    project: Project, told: Path, launcher: list[str], line: str
) -> None:
    project.set(datasets__tiny__train__launcher=launcher)
    forget()
    ran = run(*TRAIN, told=told)
    assert ran.code == 1 and re.fullmatch(f"error: {line}\n", ran.err), ran
