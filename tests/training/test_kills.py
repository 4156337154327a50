"""kill -9 at any moment: what has a final name is whole, and the run goes on from the newest."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from mmts import files
from mmts.sealed import check_seal
from mmts.training.checkpoint_files import steps
from tests.making_run import SmallRun, checkpoints, die, in_a_fork


def save_for_ever(cell: Path) -> None:
    run, keeper = SmallRun(), checkpoints(cell)
    run.resume(keeper)
    while True:
        run.steps(1).save(keeper)


def whole(cell: Path) -> list[int]:
    """The steps of the checkpoints of a cell, each of them checked."""
    found = sorted(steps(checkpoints(cell).folder))
    for path in found:
        check_seal(path, {"rank-0.pt", "facts.json", "model.safetensors", "state.pt"}, "-")
    return [int(path.name[5:]) for path in found]


def test_kills_at_moments_of_chance(tmp_path: Path) -> None:
    rng, last, left, kills = random.Random(5), 0, 0, 0
    while kills < 12 or last < 5 or not left:  # left: kills in the middle of writing
        patience = 1 + kills / 20  # a busy machine gets no further in the same time
        after = patience * rng.uniform(0.05, 0.25)
        in_a_fork(lambda: save_for_ever(tmp_path), kill_after=after)
        found = whole(tmp_path)
        assert len(found) <= 3 and (not found or found[-1] >= last)  # 3: killed before the pruning
        last = found[-1] if found else 0
        folder = checkpoints(tmp_path).folder
        left += len(list(folder.glob(".*"))) if folder.exists() else 0
        kills += 1
        assert kills < 100
    run, keeper = SmallRun(), checkpoints(tmp_path)
    assert run.resume(keeper) == (last, 0, last)
    assert run.everything() == SmallRun().steps(last).everything()
    run.steps(1).save(keeper)
    assert [p.name[5:] for p in sorted(keeper.folder.iterdir())] == [
        f"{last:09d}", f"{last + 1:09d}"
    ]  # fmt: skip


def test_a_kill_before_each_thing_that_a_save_does(tmp_path: Path) -> None:
    """At each system call that makes, opens, syncs, renames or removes a file, by number."""
    names = ("mkdir", "open", "fsync", "rename", "unlink", "rmdir")
    seen: list[list[int]] = []

    def save(cell: Path, number: int) -> None:
        run, keeper, calls = SmallRun(), checkpoints(cell), [0]
        run.resume(keeper)
        run.steps(1)

        def counted(call: Any) -> Any:
            def wrapper(*args: Any, **more: Any) -> Any:
                calls[0] += 1
                if calls[0] == number:
                    die()
                return call(*args, **more)

            return wrapper

        for name in names:
            setattr(os, name, counted(getattr(os, name)))
        run.save(keeper)
        os._exit(0)

    run, keeper = SmallRun(), checkpoints(tmp_path / "start")
    for _ in range(2):
        run.steps(1).save(keeper)
    for number in range(1, 200):
        cell = tmp_path / str(number)
        shutil.copytree(tmp_path / "start", cell)
        code = in_a_fork(lambda cell=cell, number=number: save(cell, number))
        seen.append(whole(cell))
        again = SmallRun()
        again.resume(checkpoints(cell))
        assert again.done == seen[-1][-1]
        if code == 0:
            break
        assert code == -9
    assert seen[-1] == [2, 3] and number > 25
    assert {tuple(found) for found in seen} == {(1, 2), (1, 2, 3), (2, 3)}
    assert sorted(map(tuple, seen[:-1])) == [tuple(found) for found in seen[:-1]]


def test_all_is_on_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of syncs and of the rename: what a failing machine leaves is whole too."""
    done: list[str] = []
    rename = Path.rename
    monkeypatch.setattr(files, "sync", lambda path: done.append(f"sync {Path(path).name}"))
    monkeypatch.setattr(
        Path, "rename", lambda a, b: (done.append(f"rename {Path(b).name}"), rename(a, b))[1]
    )
    path = SmallRun().steps(1).save(checkpoints(tmp_path))
    assert done == [
        f"sync {tmp_path.name}",  # which has the new folder
        *[f"sync {p.name}" for p in sorted(path.iterdir()) if p.name != "SHA256SUMS"],
        "sync SHA256SUMS", "sync .step-000000001.partial", "rename step-000000001",
        f"sync {path.parent.name}",
    ]  # fmt: skip
