"""Seeds that are trained side by side, in forks: stopped, killed, failing."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mmts.training import seeds as module
from tests import patience
from tests.conftest import CELL, Project
from tests.faults import mounts
from tests.faults.ranks import forget, until
from tests.faults.started import Started, run, start
from tests.faults.test_interrupt import left_of
from tests.faults.test_kills import tree

TRAIN = ("train", *CELL, "mmts")
OUTPUT = Path("data/train/tiny/mmts")
CHECKPOINTS = Path("data/cache/checkpoints/tiny/mmts")
SEEDS = [0, 1, 2]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told"


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, bytes]:
    """What a training writes that nothing happens to, once it was done."""
    return {}


@pytest.fixture
def long(project: Project, told: Path, undisturbed: dict[str, bytes]) -> dict[str, bytes]:
    """Enough steps to be stopped in the middle of; what an undisturbed training has written."""
    train = "datasets__tiny__train__"
    project.set(
        grid__seeds=SEEDS,
        **{
            f"{train}epochs": 150, f"{train}log_every": 50, f"{train}validate_every": 100,
            f"{train}checkpoint": {"every_steps": 7, "every_minutes": 0},
        },
    )  # fmt: skip
    shutil.rmtree(OUTPUT)
    if not undisturbed:
        assert run(*TRAIN, told=told).code == 0
        undisturbed.update(tree(OUTPUT) or {})
        assert {name[0] for name in undisturbed} == {"0", "1", "2", "p"}
    forget()
    for name, data in undisturbed.items():
        (OUTPUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUTPUT / name).write_bytes(data)
    return undisturbed


def two_at_once() -> None:
    """Also where there is one core."""
    module.at_once = lambda *_: 2


def saved() -> set[int]:
    """The seeds that have a checkpoint."""
    return {n for n in SEEDS if any(CHECKPOINTS.glob(f"{n}/*/step-*/SHA256SUMS"))}


def begun(told: Path, prepare: Callable[[], None] = two_at_once) -> Started:
    """A training of which the first two seeds have saved a checkpoint."""
    running = start(*TRAIN, told=told, prepare=prepare)
    until(lambda: saved() == {0, 1}, running)
    return running


def gone(group: int) -> bool:
    """Whether no process of a command is left, soon."""
    end = time.monotonic() + patience.seconds(20)
    while left_of(group) and time.monotonic() < end:
        time.sleep(0.02)
    return left_of(group) == []


def finishes(told: Path, whole: dict[str, bytes]) -> None:
    """The same command goes on, and writes what an undisturbed one does."""
    ran = run(*TRAIN, told=told, prepare=two_at_once)
    assert (ran.code, ran.err) == (0, ""), ran
    assert ran.out.count("goes on from") == 2, ran.out
    assert tree(OUTPUT) == whole and saved() == set()


MORE = pytest.mark.fuzz


@pytest.mark.parametrize(
    ("number", "code", "everywhere"),
    [
        (signal.SIGINT, 130, True), (signal.SIGTERM, 143, False), (signal.SIGUSR1, 138, True),
        pytest.param(signal.SIGINT, 130, False, marks=MORE),
        pytest.param(signal.SIGTERM, 143, True, marks=MORE),
        pytest.param(signal.SIGUSR1, 138, False, marks=MORE),
    ],
)  # fmt: skip
def test_a_signal_stops_them_after_a_checkpoint(
    long: dict[str, bytes], told: Path, number: int, code: int, everywhere: bool
) -> None:
    """Of a terminal or a cluster, which sends it to all processes, and of one who stops DVC."""
    running = begun(told)
    (running.signal_all if everywhere else running.signal)(number)
    ran = running.wait()
    assert ran.code == code and "Traceback" not in ran.err and "error" not in ran.err, ran
    lines = ran.err.splitlines()
    assert len(lines) == 2 and all(" is saved, and the same command goes on" in x for x in lines)
    assert gone(running.pid) and tree(OUTPUT) == long and saved() == {0, 1}
    finishes(told, long)


def test_kill_9_of_the_parent_ends_the_forks(long: dict[str, bytes], told: Path) -> None:
    running = begun(told)
    running.signal(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    assert gone(running.pid) and tree(OUTPUT) == long and saved() == {0, 1}
    finishes(told, long)


def test_kill_9_of_a_fork_is_told_and_the_other_saves(long: dict[str, bytes], told: Path) -> None:
    running = begun(told)
    with suppress(psutil.Error):
        psutil.Process(running.pid).children()[0].kill()
    ran = running.wait()
    assert ran.code == 1 and ran.err.splitlines()[-1].startswith("error: the training of seed "), (
        ran
    )
    assert "was killed (SIGKILL), perhaps for its memory; the same command goes on" in ran.err
    assert gone(running.pid) and tree(OUTPUT) == long and saved() == {0, 1}
    finishes(told, long)


def test_a_second_ctrl_c_ends_those_that_stand_still(
    long: dict[str, bytes], told: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"

    def stands_still() -> None:
        from mmts.training.saver import Saver

        def still(*_: object) -> None:
            (there.parent / f"there.{os.getpid()}").touch()
            while True:
                time.sleep(1)

        two_at_once()
        Saver.resume = still  # type: ignore[method-assign]

    running = start(*TRAIN, told=told, prepare=stands_still)
    until(lambda: len(list(tmp_path.glob("there.*"))) == 2, running)
    running.signal(signal.SIGINT)
    time.sleep(0.3)
    running.signal(signal.SIGINT)
    with patience.within(5):
        ran = running.wait()
    assert ran.code == 130 and ran.err == "" and gone(running.pid), ran
    assert tree(OUTPUT) == long


def test_a_signal_while_they_begin_is_not_lost(long: dict[str, bytes], told: Path) -> None:
    """One that comes between the beginning of a fork and the note of it in its parent."""

    def prepare() -> None:
        import multiprocessing.context

        two_at_once()
        process = multiprocessing.context.ForkProcess
        begin = process.start

        def started(self: object) -> None:
            begin(self)  # type: ignore[arg-type]
            os.kill(os.getpid(), signal.SIGTERM)

        process.start = started  # type: ignore[method-assign, assignment]

    ran = run(*TRAIN, told=told, prepare=prepare)
    assert ran.code == 143 and "Traceback" not in ran.err and "error" not in ran.err, ran
    assert tree(OUTPUT) == long and not list(Path("data/cache/kept").rglob("SHA256SUMS"))


def test_what_fails_is_one_line_a_seed(long: dict[str, bytes], told: Path) -> None:
    Path("data/cache/kept").mkdir()

    def prepare() -> None:
        two_at_once()
        mounts.read_only(Path("data/cache/kept"))

    ran = run(*TRAIN, told=told, prepare=prepare)
    assert ran.code == 1 and "Traceback" not in ran.err, ran
    lines = ran.err.splitlines()
    assert 1 <= len(lines) <= 2 and tree(OUTPUT) == long
    for line in lines:
        assert line[:15] in ("seed 0: error: ", "seed 1: error: "), ran
        assert "data/cache/kept" in line and line.endswith("Read-only file system"), ran


def test_side_by_side_alone_and_by_hand_give_the_same_bytes(
    long: dict[str, bytes], told: Path
) -> None:
    """Whichever way a seed was trained; those that are done are not trained again."""
    assert run(*TRAIN, "--seed", "1", told=told).code == 0
    assert tree(OUTPUT) == long  # not touched by hand
    ran = run(*TRAIN, told=told, prepare=two_at_once)
    assert (ran.code, ran.err) == (0, "") and "1 of 3 seeds were trained before\n" in ran.out
    assert "seed 1: " not in ran.out and tree(OUTPUT) == long


def test_a_kept_seed_that_goes_while_others_are_trained(long: dict[str, bytes], told: Path) -> None:
    """An output that lacks a seed would be recorded by DVC."""
    assert run(*TRAIN, "--seed", "1", told=told).code == 0

    def prepare() -> None:
        import stages.train

        work = stages.train.train_seed

        def forgetful(*given: object, **more: object) -> None:
            forget()
            work(*given, **more)  # type: ignore[arg-type]

        module.at_once = lambda *_: 1
        stages.train.train_seed = forgetful

    ran = run(*TRAIN, told=told, prepare=prepare)
    assert ran.code == 1 and tree(OUTPUT) == long, ran
    assert ran.err.startswith("error: data/cache/kept/train/tiny/mmts/") and ran.err.endswith(
        "/0 was deleted or changed while it was read; run the same command again\n"
    )
