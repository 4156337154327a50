"""kill -9 before each thing that writing does: what has its final name is whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmts.files import output_file, output_folder
from mmts.training.checkpoint import Position
from tests.faults.test_kills import tree
from tests.making_run import SmallRun, checkpoints, die, in_a_fork

CALLS = ("mkdir", "open", "fsync", "rename", "replace", "unlink", "rmdir")


def dying(number: int, act: Callable[[], object]) -> int:
    """The exit code of a process that is killed before the call `number` that changes files."""
    done = [0]

    def counted(call: Any) -> Any:
        def wrapper(*args: Any, **more: Any) -> Any:
            done[0] += 1
            if done[0] == number:
                die()
            return call(*args, **more)

        return wrapper

    def work() -> None:
        os.fsync = lambda _: None  # a killed process, not a power cut
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        act()
        os._exit(0)

    return in_a_fork(work)


def fill(path: Path, text: str) -> None:
    with output_folder(path) as work:
        (work / "sub").mkdir()
        for name in ("a", "sub/b"):
            (work / name).write_text(text)


def note(path: Path, text: str) -> None:
    with output_file(path) as work:
        work.write_text(text)


@pytest.mark.parametrize(("write", "least"), [(fill, 20), (note, 4)])
def test_before_each_thing_that_writing_does(
    tmp_path: Path, write: Callable[[Path, str], None], least: int
) -> None:
    """Old, new or nothing; five kills in a row leave no more behind than the next run removes."""

    def state(path: Path) -> object:
        return path.read_text() if path.is_file() else tree(path)

    wanted = []
    for text in ("old", "new"):
        write(tmp_path / "whole", text)
        wanted.append(state(tmp_path / "whole"))
    for number in range(1, 200):
        folder = tmp_path / str(number)
        write(folder / "x", "old")
        code = dying(number, lambda: write(folder / "x", "new"))  # noqa: B023
        assert state(folder / "x") in (*wanted, None)
        for later in range(number, number + 4 if number % 10 == 1 else number):
            dying(later, lambda: write(folder / "x", "new"))  # noqa: B023
        write(folder / "x", "new")
        assert state(folder / "x") == wanted[1]
        assert [path.name for path in folder.iterdir()] == ["x"]
        if code == 0:
            break
    assert number > least


def test_before_each_thing_that_a_finished_training_removes(tmp_path: Path) -> None:
    """Its checkpoints are whole or gone; what a kill leaves goes when the next training ends."""
    for number in range(1, 100):
        cell = tmp_path / str(number)
        run, keeper = SmallRun(), checkpoints(cell)
        for _ in range(2):
            run.steps(1).save(keeper)
        code = dying(number, keeper.clear)
        position = SmallRun().resume(checkpoints(cell))
        assert position in (None, Position(2, 0, 2)), number
        checkpoints(cell).clear()
        assert list(cell.iterdir()) == []
        if code == 0:
            break
    assert number > 5


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    """Only what a killed one has left is removed."""
    path = tmp_path / "x"
    with output_file(path) as work:
        work.write_text("mine")
        assert in_a_fork(lambda: note(path, "theirs")) == 0
        assert path.read_text() == "theirs" and work.read_text() == "mine"
    assert path.read_text() == "mine" and list(tmp_path.iterdir()) == [path]
