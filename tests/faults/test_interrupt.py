"""Ctrl-C in the middle of every long stage: it ends at once, and the same command goes on."""

from __future__ import annotations

import importlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from torch.utils.data import DataLoader

from mmts.files import output_file, output_folder
from mmts.training.loading import loaded
from tests import patience
from tests.conftest import CELL, Project, Ran
from tests.faults import started
from tests.faults.ranks import forget
from tests.faults.test_kills import TINY, USED, everything, tree

AT_ONCE = 5.0  # seconds to end in
BAR = "tqdm.std:tqdm.update"


@pytest.fixture(autouse=True)
def _loaded() -> None:
    for name in USED:
        importlib.import_module(name)


class Long(NamedTuple):
    """A command that stands still in the middle of its work.

    output: its folder. place: the function that it stands in, from its call number `call` on.
    patched: module attributes with other values, so that tiny data have several parts.
    """

    command: tuple[str, ...]
    output: str
    place: str = BAR
    call: int = 3
    patched: tuple[tuple[str, object], ...] = ()


SMALL = (("mmts.vector_cache:TEXTS_A_TRANSACTION", 8), ("mmts.embed:PICTURES_A_TRANSACTION", 8))
TRAIN = Long(("train", *CELL, "mmts"), "data/train/tiny/mmts")
EVALUATE = Long(
    ("evaluate", *CELL, "base"), "data/evaluate/tiny/base",
    "mmts.towers.two_tower:TwoTower.encode_text", 1,
)  # fmt: skip
STAGES = {
    "captions": Long(("captions", *TINY), "data/captions/tiny"),
    "texts": Long(("embed", *TINY), "data/embed/tiny", BAR, 5, SMALL),
    "pictures": Long(("embed", *TINY), "data/embed/tiny", "mmts.media:MediaReader.read",
                     17, SMALL),
    "cluster": Long(("cluster", *TINY), "data/cluster/tiny", BAR, 2,
                    (("mmts.kmeans:SCIKIT_LEARN_BYTES", 0),)),
    "pack": Long(("pack", *TINY), "data/shards/tiny"),
    "train": TRAIN,
    "evaluate": EVALUATE,
    "report": Long(("report",), "results", "mmts.reporting.report:dataset_report", 1),
}  # fmt: skip


def attribute(place: str) -> tuple[Any, str]:
    """What has the attribute that `module:Class.name` stands for, and its name."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    return owner, name


def patched(long: Long) -> None:
    """Set the attributes of modules."""
    for place, value in long.patched:
        owner, name = attribute(place)
        getattr(owner, name)  # it is there
        setattr(owner, name, value)


def prepared(long: Long, there: Path) -> Callable[[], None]:
    """In the command's process: make it stand still, and say by a file that it does."""

    def still() -> None:
        there.touch()
        while True:  # until it is ended
            time.sleep(1)

    def prepare() -> None:
        patched(long)
        owner, name = attribute(long.place)
        original, calls = getattr(owner, name), [0]

        def slow(*args: Any, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] == long.call:
                still()
            return original(*args, **more)

        setattr(owner, name, slow)

    return prepare


def left_of(group: int) -> list[psutil.Process]:
    """The processes of a command that are still there."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def interrupted(
    long: Long, told: Path, *, alone: bool = False, ready: Callable[[int], bool] = bool
) -> Ran:
    """Start a command, send Ctrl-C where it stands still and is ready, and look how it ends."""
    there = told / "there"
    told.mkdir(parents=True, exist_ok=True)
    there.unlink(missing_ok=True)
    command = started.start(*long.command, told=told, prepare=prepared(long, there))
    until = time.monotonic() + patience.seconds(60)
    while not (there.exists() and ready(command.pid)):
        assert command.poll() is None, command.wait()
        assert time.monotonic() < until
        time.sleep(0.005)
    with patience.within(AT_ONCE):
        (command.signal if alone else command.signal_all)(signal.SIGINT)
        ran = command.wait()
    assert ran.code == 130 and "Traceback" not in ran.err and "rror" not in ran.err, ran
    assert left_of(command.pid) == []
    return ran


@pytest.mark.parametrize("name", STAGES)
def test_it_stops_and_the_same_command_finishes(
    project: Project, tmp_path: Path, name: str
) -> None:
    long, told = STAGES[name], tmp_path / "told"
    if name == "report":
        few = {"bootstrap": 100, "tsne_points": 100, "tsne_perplexity": 5.0, "examples": 1}
        project.set(report=few, grid__methods=["base"])

    def finish() -> Ran:
        ran = started.run(*long.command, told=told, prepare=lambda: patched(long))
        assert (ran.code, ran.err) == (0, "")
        return ran

    if name in ("texts", "pictures"):
        for path in Path("data/cache/vectors").iterdir():
            path.unlink()
    elif name == "cluster":
        finish()
    names, old = sorted(everything(project.root)), tree(project.root / long.output)
    forget(long.output.removeprefix("data/"))
    interrupted(long, told, alone=name == "pack")
    assert tree(project.root / long.output) == old
    assert not list(project.root.rglob(".*partial"))
    have = vectors()
    if name == "report":  # takes long; test_kills finishes it
        return
    ran = finish()
    assert tree(project.root / long.output) == old
    if name in ("texts", "pictures"):
        words = r"(\d+) embedded now\n32 pictures, features of (\d+) computed now"
        found = re.search(words, ran.out)
        assert found is not None
        left = (36 - have.get("text", 0), 32 - have.get("vision", 0))
        assert (int(found[1]), int(found[2])) == left
        assert left[0] < 36 and (name == "texts" or left == (0, 16))
    else:
        assert sorted(everything(project.root)) == names


def vectors() -> dict[str, int]:
    """How many are in the cache, of texts and of pictures."""
    found = {}
    for path in Path("data/cache/vectors").glob("*.sqlite"):
        base = sqlite3.connect(path)
        (found[path.name.partition("-")[0]],) = base.execute(
            "SELECT COUNT(*) FROM vectors"
        ).fetchone()
        base.close()
    return found


def test_before_a_command_has_begun() -> None:
    """While it still imports: no traceback, and the shell is told of the signal."""
    early = """if 1:
        import stages, os, signal, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)"""
    ran = subprocess.run([sys.executable, "-c", early], cwd=started.ROOT, capture_output=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, b"", b"")


def deaf_workers(group: int) -> bool:
    """Whether both processes that load are there; they do not end by Ctrl-C themselves."""
    workers = [process for process in left_of(group) if process.pid != group]
    for worker in workers:
        with suppress(psutil.Error):  # ended since
            worker.send_signal(signal.SIGINT)
    time.sleep(0.2)
    return len(workers) == 2 and all(worker in left_of(group) for worker in workers)


def loads_in_workers(project: Project) -> None:
    """Pictures are decoded by two processes, in training and in evaluation."""
    tiny = "datasets__tiny__"
    project.set(**{
        f"{tiny}towers__vision__frozen": False, f"{tiny}train__workers": 2,
        f"{tiny}evaluate__workers": 2,
        f"{tiny}train__checkpoint": {"every_steps": 1, "every_minutes": 0},
    })  # fmt: skip


def test_processes_that_load_end_too(project: Project, tmp_path: Path) -> None:
    """At once, though they stand still at a picture or a disk, and are not told themselves."""
    told, cell = tmp_path / "told", Path("data/cache/checkpoints/tiny/mmts/0")
    loads_in_workers(project)
    forget("train/tiny/mmts")
    assert started.run(*TRAIN.command, told=told).code == 0
    whole, names = tree(Path(TRAIN.output)), sorted(everything(project.root))
    forget("train/tiny/mmts")

    def trained(group: int) -> bool:
        return any(cell.glob("*/step-000000002")) and deaf_workers(group)

    stuck = TRAIN._replace(place="mmts.training.pairs:Pairs.__getitems__", call=3)
    interrupted(stuck, told, alone=True, ready=trained)
    ran = started.run(*TRAIN.command, told=told)
    assert (ran.code, ran.err) == (0, "")
    assert f"goes on from {cell}/" in ran.out and "/step-000000002\n" in ran.out
    assert tree(Path(TRAIN.output)) == whole and sorted(everything(project.root)) == names

    command = ("evaluate", *TRAIN.command[1:])
    stuck = Long(command, "", "mmts.training.loading:deaf", 1)
    interrupted(stuck, told, ready=deaf_workers)


def test_ctrl_c_while_they_begin_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    others, begin = active_children(), DataLoader.__iter__

    def heard(self: DataLoader[Any]) -> Any:
        begun = begin(self)
        signal.raise_signal(signal.SIGINT)
        assert len(active_children()) == len(others) + 2
        return begun

    monkeypatch.setattr(DataLoader, "__iter__", heard)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(loaded([0] * 4, [[0], [1]], 2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert active_children() == others


CALLS = ("mkdir", "open", "fsync", "rename", "replace", "unlink", "rmdir")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_twice_before_each_thing_that_writing_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A second Ctrl-C in the clean-up after the first: old, new or nothing has the name."""

    def write(path: Path, text: str) -> None:
        with (output_folder if kind == "folder" else output_file)(path) as work:
            for file in (work / "a", work / "b") if kind == "folder" else (work,):
                file.write_text(text)

    def state(path: Path) -> object:
        return path.read_text() if path.is_file() else tree(path)

    done = [0]

    def counted(call: Any, numbers: tuple[int, ...]) -> Any:
        def wrapper(*args: Any, **more: Any) -> Any:
            done[0] += 1
            if done[0] in numbers:
                raise KeyboardInterrupt
            return call(*args, **more)

        return wrapper

    monkeypatch.setattr(os, "fsync", lambda _: None)
    whole = []
    for text in ("old", "new"):
        write(tmp_path / "whole", text)
        whole.append(state(tmp_path / "whole"))
    for number in range(1, 100):
        for second in range(number + 1, number + 8):
            path = tmp_path / f"{number}-{second}" / "x"
            write(path, "old")
            done[0] = 0
            with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
                for name in CALLS:
                    patch.setattr(os, name, counted(getattr(os, name), (number, second)))
                write(path, "new")
            assert state(path) in (*whole, None), (number, second)
            last = done[0]
            write(path, "new")
            assert state(path) == whole[1]
            assert [file.name for file in path.parent.iterdir()] == ["x"], (number, second)
        if last < number:
            break
    assert number > (12 if kind == "folder" else 3)
