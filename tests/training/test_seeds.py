"""The seeds of a cell side by side: in forks, with one end, and the same bytes as alone."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmts.errors import InputError
from mmts.training.seeds import at_once, each
from tests import patience
from tests.conftest import CELL, Project, Ran
from tests.faults.started import run, start
from tests.training.test_loop import settings

MMTS = (*CELL, "mmts")


@pytest.mark.parametrize(
    ("cores", "seeds", "device", "changes", "wanted"),
    [
        (4, 3, "cpu", {}, 3),
        (2, 3, "cpu", {}, 2),
        (1, 3, "cpu", {}, 1),
        (4, 3, "cuda", {}, 1),
        (4, 3, "cpu", {"threads": 2}, 1),
        (4, 3, "cpu", {"threads": 0}, 1),
        (4, 3, "cpu", {"workers": 2}, 1),
    ],
)
def test_how_many_at_once(
    monkeypatch: pytest.MonkeyPatch, cores: int, seeds: int, device: str, changes: dict[str, int],
    wanted: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert at_once(settings(**{"threads": 1, **changes}), device, seeds) == wanted


# --- each ----------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A folder in which works leave notes."""
    folder = tmp_path / "told"
    folder.mkdir()
    return folder


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + patience.seconds(10)
    while not there():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_are_worked_on_and_so_many_at_once(told: Path, count: int) -> None:
    def work(seed: int) -> None:
        begun = len(list(told.glob("begun-*"))) + 1
        (told / f"begun-{seed}").touch()
        if begun <= count:  # the first ones wait for each other
            until(lambda: len(list(told.glob("begun-*"))) >= count)
        running = {p.name[6:] for p in told.glob("begun-*")}
        running -= {p.name[5:] for p in told.glob("done-*")}
        assert len(running) <= count
        time.sleep(0.01)
        (told / f"done-{seed}").touch()

    each([3, 1, 4, 15, 9], work, count)
    assert {p.name for p in told.glob("done-*")} == {f"done-{n}" for n in (3, 1, 4, 15, 9)}
    assert multiprocessing.active_children() == []


def test_the_first_that_fails_stops_the_others(told: Path) -> None:
    def work(seed: int) -> None:
        (told / f"begun-{seed}").touch()
        if seed == 1:
            until((told / "begun-0").exists)
            raise SystemExit(7)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        (told / f"hears-{seed}").touch()
        try:
            time.sleep(patience.seconds(20))
        finally:
            (told / f"left-{seed}").touch()

    with patience.within(10), pytest.raises(SystemExit) as caught:
        each([0, 1, 2, 3], work, 2)
    assert caught.value.code == 7
    assert {p.name for p in told.glob("begun-*")} == {"begun-0", "begun-1"}  # none after it
    assert (told / "left-0").exists() == (told / "hears-0").exists()
    assert multiprocessing.active_children() == []


def test_a_killed_one_is_one_line(told: Path) -> None:
    def work(seed: int) -> None:
        if seed == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)

    with pytest.raises(InputError) as caught:
        each([4, 5], work, 2)
    assert str(caught.value) == (
        "the training of seed 5 was killed (SIGKILL), perhaps for its memory; the same command "
        "goes on from what is done"
    )


def stopped(work: Callable[[int], None], told: Path, send: Callable[[int], Any]) -> int:
    """The exit code of a process with two works, which `send` is called with once both run."""

    def parent() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        each([0, 1, 2], work, 2)

    process = multiprocessing.get_context("fork").Process(target=parent)
    process.start()
    assert process.pid is not None
    until(lambda: len(list(told.glob("hears-*"))) == 2)
    send(process.pid)
    process.join(patience.seconds(20))
    if process.exitcode is None:
        process.kill()
        raise AssertionError("it goes on")
    return process.exitcode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_reaches_the_forks(told: Path, number: int) -> None:
    """They may save a checkpoint, and are waited for; the code is that of the signal."""

    def work(seed: int) -> None:
        def save(*_: object) -> None:
            time.sleep(0.1)
            (told / f"saved-{seed}").touch()
            raise SystemExit(143)

        signal.signal(signal.SIGTERM, save)
        (told / f"hears-{seed}").touch()
        time.sleep(patience.seconds(20))

    assert stopped(work, told, lambda pid: os.kill(pid, number)) == 128 + number
    assert {p.name for p in told.glob("saved-*")} == {"saved-0", "saved-1"}
    assert not (told / "hears-2").exists()


def test_forks_that_do_not_listen_yet_end_too(told: Path) -> None:
    """No word of memory: the signal was asked for."""

    def work(seed: int) -> None:
        (told / f"hears-{seed}").touch()
        time.sleep(patience.seconds(20))

    assert stopped(work, told, lambda pid: os.kill(pid, signal.SIGTERM)) == 143


def test_a_signal_as_a_fork_begins_is_not_lost(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when the fork still has the handlers of its parent, and is in no list of it."""
    fork = os.fork

    def signalled() -> int:
        pid = fork()
        if pid:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            time.sleep(0.3)
        return pid

    def work(seed: int) -> None:
        (told / f"begun-{seed}").touch()
        time.sleep(patience.seconds(20))

    monkeypatch.setattr(os, "fork", signalled)
    with patience.within(10), pytest.raises(SystemExit) as caught:
        each([0, 1], work, 2)
    assert caught.value.code == 143 and not (told / "begun-1").exists()


def test_forks_end_with_their_killed_parent(told: Path) -> None:
    def work(seed: int) -> None:
        signal.signal(signal.SIGTERM, lambda *_: ((told / f"left-{seed}").touch(), sys.exit(143)))
        (told / f"hears-{seed}").touch()
        time.sleep(patience.seconds(20))

    assert stopped(work, told, lambda pid: os.kill(pid, signal.SIGKILL)) == -signal.SIGKILL
    until(lambda: len(list(told.glob("left-*"))) == 2)


@pytest.mark.parametrize("count", [1, 2])
def test_lines_say_of_which_seed_they_are(capfd: pytest.CaptureFixture[str], count: int) -> None:
    def work(seed: int) -> None:
        print("a line", end="")
        print(" in two parts\nand another\n")
        print(f"terminal: {sys.stdout.isatty()}", file=sys.stderr)

    each([7, 8], work, count)
    out, err = capfd.readouterr()
    if count == 1:
        assert out == 2 * "a line in two parts\nand another\n\n" and "seed" not in err
        return
    for seed in (7, 8):
        lines = [line for line in out.splitlines() if line.startswith(f"seed {seed}: ")]
        assert lines == [f"seed {seed}: a line in two parts", f"seed {seed}: and another"]
    assert sorted(err.splitlines()) == [f"seed {seed}: terminal: False" for seed in (7, 8)]


# --- the stage -----------------------------------------------------------------------------------


@pytest.fixture
def cell(project: Project) -> Project:
    """The tiny project with three seeds, of whose cell `mmts` nothing is trained."""
    project.set(grid__seeds=[0, 1, 2])
    assert project.run("plan").code == 0
    shutil.rmtree("data/cache/kept/train/tiny/mmts")
    shutil.rmtree("data/train/tiny/mmts")
    return project


def result() -> dict[str, bytes]:
    """All files of the cell: there is no time in them."""
    folder = Path("data/train/tiny/mmts")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def two_cores() -> None:
    os.sched_getaffinity = lambda _: {0, 1}  # type: ignore[assignment]


def train(told: Path, *more: str) -> Ran:
    """`python -m stages.train` of the cell, on two cores."""
    return run("train", *MMTS, *more, told=told, prepare=two_cores)


def seeds_of(lines: str) -> set[str]:
    return {line.partition(":")[0] for line in lines.splitlines() if " steps in " in line}


def test_a_seed_by_hand_is_taken_and_the_rest_is_trained(cell: Project, told: Path) -> None:
    by_hand = train(told, "--seed", "1")
    assert (by_hand.code, by_hand.err) == (0, "")
    (kept,) = Path("data/cache/kept/train/tiny/mmts").glob("*/1")
    assert by_hand.out.splitlines()[-1] == f"{kept} has the result; `dvc repro` takes it from there"
    assert seeds_of(by_hand.out) == {by_hand.out.splitlines()[-2].partition(":")[0]}
    assert not Path("data/train/tiny/mmts").exists()  # it is for DVC
    again = train(told, "--seed", "1")
    assert again.code == 0 and " steps in " not in again.out

    rest = train(told)
    assert (rest.code, rest.err) == (0, "")
    assert seeds_of(rest.out) == {"seed 0", "seed 2"}
    assert rest.out.splitlines()[-1] == "1 of 3 seeds were trained before"
    mixed = result()
    names = {name.partition("/")[0] for name in mixed}
    assert names == {"0", "1", "2", "plan.json"}
    assert mixed["plan.json"] == Path("data/plan/tiny/mmts/train.json").read_bytes()

    shutil.rmtree("data/cache")
    shutil.rmtree("data/train/tiny/mmts")
    whole = train(told)
    assert (whole.code, whole.err) == (0, "")
    assert seeds_of(whole.out) == {"seed 0", "seed 1", "seed 2"}
    assert result() == mixed
    assert len({mixed[f"{seed}/model.safetensors"] for seed in (0, 1, 2)}) == 3


def test_one_more_seed_trains_alone(cell: Project, told: Path) -> None:
    cell.set(grid__seeds=[0, 2])
    assert cell.run("plan").code == 0
    assert train(told).code == 0
    before = result()
    cell.set(grid__seeds=[0, 1, 2])
    assert cell.run("plan").code == 0
    ran = train(told)
    assert ran.code == 0 and ran.out.count(" steps in ") == 1
    assert ran.out.splitlines()[-1] == "2 of 3 seeds were trained before"
    after = result()
    of_cell = {name: data for name, data in before.items() if name != "plan.json"}
    assert of_cell.items() <= after.items() and any(name.startswith("1/") for name in after)


def test_a_stopped_stage_goes_on_from_what_is_done(cell: Project, told: Path) -> None:
    """Killed after a seed: what is finished stays, and the end is that of an undisturbed one."""
    assert train(told).code == 0
    wanted = result()
    shutil.rmtree("data/cache")
    shutil.rmtree("data/train/tiny/mmts")
    kept = Path("data/cache/kept/train/tiny/mmts")

    def slow_after_the_first() -> None:
        import mmts.training.prepared

        prepare = mmts.training.prepared.prepare

        def slow(*arguments: Any) -> Any:
            if arguments[6] == 2:  # the seed
                time.sleep(patience.seconds(20))
            return prepare(*arguments)

        mmts.training.prepared.prepare = slow
        two_cores()

    running = start("train", *MMTS, told=told, prepare=slow_after_the_first)
    until(lambda: len(list(kept.glob("*/[01]/SHA256SUMS"))) == 2)
    running.signal(signal.SIGTERM)
    ran = running.wait()
    assert ran.code == 143 and "Traceback" not in ran.err and "error" not in ran.err
    assert not Path("data/train/tiny/mmts").exists()
    ran = train(told)
    assert ran.code == 0 and ran.out.splitlines()[-1] == "2 of 3 seeds were trained before"
    assert result() == wanted


def test_what_the_user_can_mend_is_one_line_a_seed(cell: Project, told: Path) -> None:
    def starved() -> None:
        import mmts.training.prepared

        def prepare(*arguments: Any) -> Any:
            if arguments[6] == 1:
                raise MemoryError("cannot allocate")
            time.sleep(patience.seconds(20))

        mmts.training.prepared.prepare = prepare
        two_cores()

    ran = run("train", *MMTS, told=told, prepare=starved)
    assert ran.code == 1 and ran.err.count("\n") == 1, ran
    assert ran.err.startswith("seed 1: error: out of memory (cannot allocate); lower a batch size")
    assert not Path("data/train/tiny/mmts").exists()


def test_resume_is_of_one_seed(cell: Project, told: Path) -> None:
    ran = train(told, "--resume", "somewhere")
    assert (ran.code, ran.err) == (1, "error: --resume is of one seed; give --seed too\n")
