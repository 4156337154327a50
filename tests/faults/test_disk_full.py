"""A disk that is really full: each stage says so in one line, and leaves what was there as it was.

Each is run on disks of growing size, so that one file after another is the one that does not fit.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.conftest import Project
from tests.faults import mounts, started
from tests.faults.ranks import forget
from tests.making_clips import clip, write_project, write_videos
from tests.making_run import in_a_fork

PAGE = 4096
PAGES = (1, 2, 3, 4, 6, 9, 14, 20, 30, 45, 70, 110, 170, 256)
ROOM = 64_000_000
TINY = ("--dataset", "tiny")
MMTS = (*TINY, "--method", "mmts")
CLOCKS = re.compile(r"dvclive/|speed\.")  # files with times in them


class Full(NamedTuple):
    """A stage on a full disk: how it ended, whether all was as before, and so with room again."""

    code: int
    err: str
    same: bool
    again: tuple[int, bool] | None


def outputs() -> dict[str, bytes]:
    """All files of the stages, final or not; of the caches only checkpoints."""
    found = {}
    for top in ("data", "results"):
        for path in sorted(Path(top).rglob("*")):
            name = str(path)
            cached = name.startswith("data/cache") and "/step-" not in name
            if path.is_file() and not cached and not name.startswith("data/raw"):
                found[name] = path.read_bytes() if not CLOCKS.search(name) else b""
    return found


def used(folder: Path) -> int:
    """Bytes of the pages of all that is in a folder."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(-(-size // PAGE) * PAGE for size in sizes)


def small(folder: Path, free: int) -> None:
    """`folder` lies on a disk of its own from now on, with so many bytes to write."""
    here, aside = Path.cwd(), Path.cwd().parent / "aside"
    shutil.copytree(folder, aside)
    mounts.small_disk(folder, used(aside) + free)
    shutil.copytree(aside, folder, dirs_exist_ok=True)
    shutil.rmtree(aside)
    os.chdir(here)  # into the disk, if it is this folder


def on_a_full_disk(
    stage: str, arguments: tuple[str, ...], folder: str, free: int, told: Path, again: bool,
    kept: bool = False,
) -> Full:  # fmt: skip
    """Run a stage with `folder` on a disk that has so many bytes left.

    Args:
        stage, arguments: of the command.
        folder: the disk.
        free: bytes.
        told: a folder for what it prints.
        again: whether to run it once more, with room.
        kept: whether seeds that were finished before are not worked on again.
    """
    answer = told / "answer.json"

    def both() -> None:
        if not kept:
            forget()
            Path(folder).mkdir(parents=True, exist_ok=True)
        small(Path(folder).absolute(), free)
        before, said = outputs(), io.StringIO()
        with contextlib.redirect_stderr(said):
            code = started._command(stage, arguments)
        found: list[Any] = [code, said.getvalue(), outputs() == before, None]
        if again:
            mounts.grow(Path(folder).absolute(), ROOM)
            code = started._command(stage, arguments)
            found[-1] = [code, outputs() == before]
        answer.write_text(json.dumps(found))

    told.mkdir(exist_ok=True)
    answer.unlink(missing_ok=True)
    ended = started.run(stage, "--help", told=told, prepare=both)
    assert answer.exists(), ended.err
    code, err, same, then = json.loads(answer.read_text())
    return Full(code, err + ended.err, same, then and (then[0], then[1]))


def sweep(
    stage: str, arguments: tuple[str, ...], folder: str, told: Path, least: int
) -> Iterator[Full]:
    """The failures on disks of growing size, until the stage has room; at least `least`.

    The first failure is followed by a run with room.
    """
    for number, pages in enumerate(PAGES):
        found = on_a_full_disk(stage, arguments, folder, pages * PAGE, told, again=number == 0)
        if found.code == 0:
            assert number >= least, f"no failure with {pages} pages"
            return
        yield found
    raise AssertionError("never room enough")


STAGES: dict[str, tuple[str, tuple[str, ...], str, str, int]] = {
    "captions": ("captions", TINY, "data/captions", r"data/captions/tiny", 2),
    "embed": ("embed", TINY, "data/embed", r"data/embed/tiny", 4),
    "cluster": ("cluster", TINY, "data/cluster", r"data/cluster/tiny", 3),
    "shift": ("shift", TINY, "data/shift", r"data/shift/tiny", 1),
    "pack": ("pack", TINY, "data/shards", r"data/shards/tiny", 3),
    "train": ("train", MMTS, "data/train", r"data/train/tiny/mmts", 5),
    "kept": ("train", MMTS, "data/cache/kept", r"data/cache/kept/train/tiny/mmts/\w{16}/0", 5),
    "checkpoint": (
        "train", MMTS, "data/cache/checkpoints",
        r"data/cache/checkpoints/tiny/mmts/0/\w+/\.step-\d+\.partial", 4,
    ),
    "kept evaluation": (
        "evaluate", (*TINY, "--method", "base"), "data/cache/kept",
        r"data/cache/kept/evaluate/tiny/base/\w{16}/0", 2,
    ),
    "evaluate": (
        "evaluate", (*TINY, "--method", "base"), "data/evaluate", r"data/evaluate/tiny/base", 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_on_a_full_disk(project: Project, tmp_path: Path, name: str) -> None:
    stage, arguments, folder, named, least = STAGES[name]
    every = 3 if name == "checkpoint" else None
    project.set(datasets__tiny__train__checkpoint={"every_steps": every, "every_minutes": 0})
    Path(folder).mkdir(parents=True, exist_ok=True)
    for found in sweep(stage, arguments, folder, tmp_path / "told", least):
        line = rf"error: {named} could not be written \(the disk is full\); make room there.*\n"
        assert found.code == 1 and re.fullmatch(line, found.err), found
        assert found.same and found.again in (None, (0, True)), found


@pytest.mark.parametrize(("disk", "pages"), [("data", 1), ("data/train", 5)])
def test_kept_seeds_on_a_full_disk(project: Project, tmp_path: Path, disk: str, pages: int) -> None:
    """Links of them take no room; copies, on another disk, do."""
    project.set(grid__seeds=[0, 1])
    assert started.run("train", *MMTS, told=tmp_path / "told").code == 0
    for free in range(pages):
        found = on_a_full_disk(
            "train", MMTS, disk, free * PAGE, tmp_path / "told", again=free == 0, kept=True
        )
        line = r"error: data/train/tiny/mmts could not be written \(the disk is full\); .*\n"
        assert found.code == 1 and re.fullmatch(line, found.err), found
        assert found.same and found.again in (None, (0, True)), found
    if disk == "data":
        found = on_a_full_disk("train", MMTS, disk, PAGE, tmp_path / "told", False, kept=True)
        assert found.code == 0 and found.same, found


def test_vectors_on_a_full_disk(project: Project, tmp_path: Path) -> None:
    """What the cache holds stays: nobody is told to delete it."""
    cache = Path("data/cache/vectors")
    shutil.rmtree(cache)
    cache.mkdir()
    for found in sweep("embed", TINY, str(cache), tmp_path / "told", 3):
        line = r"error: data/cache/vectors/\S+\.sqlite could not be written \(the disk is full\); "
        assert found.code == 1 and re.fullmatch(rf"{line}make room .* stays\n", found.err), found
        assert found.same and found.again in (None, (0, True)), found


def test_the_report_on_a_full_disk(project: Project, tmp_path: Path) -> None:
    project.set(grid__methods=["base"])
    Path("results").mkdir()
    Path("results/index.html").write_text("that of another day")
    found = on_a_full_disk("report", (), ".", 30 * PAGE, tmp_path / "told", again=True)
    assert found.code == 1 and found.same, found
    assert found.err == (
        "error: results could not be written (the disk is full); make room there and give the "
        "same command again\n"
    )
    assert found.again == (0, False)


def test_a_speed_that_has_no_room_does_not_fail_a_training(
    project: Project, tmp_path: Path
) -> None:
    """The run is complete by then, and its checkpoints are gone."""
    folder = Path("data/cache/speed")
    shutil.rmtree(folder)
    folder.mkdir()
    Path(folder, "other").write_bytes(bytes(PAGE))
    found = on_a_full_disk("train", MMTS, str(folder), 0, tmp_path / "told", again=False)
    assert found.code == 0 and found.same
    assert re.fullmatch(r"warning: no speed of this run is kept: .* is full\).*\n", found.err)


def test_clips_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a video is cut, and where all that was cut is packed."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    project = Project(root, capsys.readouterr)
    videos = write_videos(tmp_path / "videos", 2, seconds=3)
    found = [clip(path, n, 0, 2, "train") for n, path in enumerate(videos)]
    write_project(root, found, workers=0)
    assert project.run("pack", *TINY).code == 0
    kept = r"data/cache/pack/tiny/\w{16}/\w{32}"
    for folder, named in (("data/cache/pack", kept), ("data/shards", "data/shards/tiny")):
        Path(folder).mkdir(parents=True, exist_ok=True)
        full = on_a_full_disk("pack", TINY, folder, 2 * PAGE, tmp_path / "told", again=True)
        assert full.code == 1 and full.same and full.again == (0, True), full
        line = rf"error: {named} could not be written \(the disk is full\); .*\n"
        assert re.fullmatch(line, full.err), full


def test_records_of_a_study_on_a_full_disk(tmp_path: Path) -> None:
    """A record that did not fit is cut off again by the next one."""
    from mmts.errors import InputError
    from mmts.study.records import Records

    def record(number: int) -> dict[str, Any]:
        levels = np.random.default_rng(number).bytes(1500).hex()
        return {"key": str(number), "validation": {"val/rsum": 1.0}, "levels": levels}

    def full() -> None:
        folder = tmp_path / "study"
        mounts.small_disk(folder, 2 * PAGE)
        kept = Records(folder, "tiny")
        kept.add(record(0))
        kept.add(record(1))
        for _ in range(2):
            with pytest.raises(InputError, match=r"study/tiny\.jsonl could not .* disk is full"):
                kept.add(record(2))
        mounts.grow(folder, ROOM)
        for number in (2, 3):
            kept.add(record(number))
        assert list(Records(folder, "tiny").by_key) == ["0", "1", "2", "3"]

    (tmp_path / "study").mkdir()
    assert in_a_fork(full) == 0
