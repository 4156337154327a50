"""kill -9 of every stage at moments of chance: the same command then finishes, with equal bytes."""

from __future__ import annotations

import importlib
import json
import random
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mmts.study.records import Records
from tests.conftest import CELL, Project
from tests.faults import started
from tests.making_clips import clip, write_project, write_videos
from tests.study.conftest import FILE, write_study

ON_TIME = 0.75  # of the kills must hit a command that is still at work
Tree = dict[str, bytes]


class Killed(NamedTuple):
    """A stage to kill.

    command: its name and arguments. output: its folder. fresh: caches to remove before it begins.
    kills: how many of the plain test's.
    """

    command: tuple[str, ...]
    output: str
    fresh: tuple[str, ...] = ()
    kills: int = 2


TINY = ("--dataset", "tiny")
STAGES = (
    Killed(("captions", *TINY), "data/captions/tiny"),
    Killed(("embed", *TINY), "data/embed/tiny", ("data/cache/vectors",), 3),
    Killed(("cluster", *TINY), "data/cluster/tiny", (), 1),
    Killed(("shift", *TINY), "data/shift/tiny", (), 1),
    Killed(("pack", *TINY), "data/shards/tiny"),
    Killed(("train", *CELL, "mmts"), "data/train/tiny/mmts", ("data/cache/kept/train",), 4),
    Killed(("evaluate", *CELL, "mmts"), "data/evaluate/tiny/mmts", ("data/cache/kept/evaluate",)),
    Killed(("report",), "results", (), 1),
)
CLIPS = Killed(("pack", *TINY), "data/shards/tiny", ("data/cache/pack",))
STUDY = 2
assert sum(stage.kills for stage in (*STAGES, CLIPS)) + STUDY == 20
NOTES = re.compile(r"data/cache/(speed/.*[.]json|verified[.]json)")
"""Of times and inodes; no result depends on them."""
USED = ("mmts.kmeans", "mmts.reporting.report", "mmts.training.loop", "mmts.study.run", "av",
        "sklearn.cluster")  # fmt: skip
"""Modules that a fork then need not load."""


@pytest.fixture(autouse=True)
def _loaded() -> None:
    for name in USED:
        importlib.import_module(name)


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """How often a stage is killed: as often as the plain test does, or 20 times."""
    return lambda plain: 20 if request.config.getoption("fuzz") else plain


def tree(folder: Path) -> Tree | None:
    """All files below a folder; None where it is not there."""
    if not folder.exists():
        return None
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def everything(root: Path) -> dict[str, object]:
    """What a project has: the bytes of its files, of a vector cache what it holds."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            found[name] = "folder"
        elif path.suffix == ".sqlite":
            base = sqlite3.connect(path)
            found[name] = sorted(base.execute("SELECT key, vector FROM vectors"))
            base.close()
        elif not NOTES.fullmatch(name):
            found[name] = path.read_bytes()
    return found


def aged(folder: Path) -> Tree | None:
    """Make an output that is there one of an older run: other bytes, and a file more."""
    for path in tree(folder) or ():
        (folder / path).write_bytes(b"old " + (folder / path).read_bytes())
    if folder.exists():
        (folder / "more").write_bytes(b"old")
    return tree(folder)


class Kills:
    """Kills of one stage, and what must be true after each."""

    def __init__(self, stage: Killed, root: Path, told: Path, rng: random.Random) -> None:
        self.stage, self.root, self.told, self.rng = stage, root, told, rng
        self.output = root / stage.output
        self._clear()
        begun = time.monotonic()
        self._run()
        self.seconds = time.monotonic() - begun
        self.whole, self.new = everything(root), tree(self.output)

    def several(self, number: int) -> None:
        """So many kills; after every other one the command finishes, the others come in a row."""
        hits = tried = 0
        while tried < number or hits < ON_TIME * number:
            hits += self._once()
            tried += 1
            assert tried < 10 + 10 * number
            if tried % 2:
                self._finish()
        if tried % 2 == 0:
            self._finish()

    def _once(self) -> bool:
        """Kill the command at a moment of chance; whether it was still at work."""
        self._clear()
        if self.rng.random() < 0.5:
            shutil.rmtree(self.output, ignore_errors=True)
        old = aged(self.output)
        command = started.start(*self.stage.command, told=self.told)
        time.sleep(self.rng.uniform(0, 1.5 * self.seconds))
        (command.signal_all if self.rng.random() < 0.5 else command.signal)(signal.SIGKILL)
        code = command.wait().code
        assert code in (0, -signal.SIGKILL)
        assert tree(self.output) in (self.new, old, None)
        self.seconds *= 1.05 if code else 0.9  # another load than when it was measured
        return code != 0

    def _finish(self) -> None:
        """The same command finishes, and the project is as if nothing had happened."""
        self._run()
        found = everything(self.root)
        assert found.keys() == self.whole.keys()
        assert [name for name in found if found[name] != self.whole[name]] == []

    def _run(self) -> None:
        ran = started.run(*self.stage.command, told=self.told)
        assert (ran.code, ran.err) == (0, "")

    def _clear(self) -> None:
        for name in self.stage.fresh:
            shutil.rmtree(self.root / name, ignore_errors=True)


def test_every_stage(project: Project, tmp_path: Path, times: Callable[[int], int]) -> None:
    project.set(
        datasets__tiny__train__checkpoint={"every_steps": 1, "every_minutes": 0},
        report={"bootstrap": 100, "tsne_points": 100, "tsne_perplexity": 5.0, "examples": 1},
    )
    for seed, stage in enumerate(STAGES):
        kills = Kills(stage, project.root, tmp_path / "told", random.Random(seed))
        kills.several(times(stage.kills))


def test_packing_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: Callable[[int], int]
) -> None:
    root, splits = tmp_path / "project", ("train", "train", "val", "test")
    videos = write_videos(tmp_path / "videos", len(splits), seconds=2)
    found = [
        clip(video, number, number, number + 1, split)
        for video, split in zip(videos, splits, strict=True)
        for number in range(2)
    ]
    write_project(root, found)
    monkeypatch.chdir(root)
    Kills(CLIPS, root, tmp_path / "told", random.Random(0)).several(times(CLIPS.kills))


def in_process() -> None:
    """The cells of a study are trained in its own process, which has imported all."""
    import stages.study
    from mmts.study import session
    from mmts.study.run import run_cell

    def run_all(tasks: Mapping[str, Any], towers: Any, _: int, keep: Callable[..., None]) -> None:
        for key, (cell, test) in tasks.items():
            keep(run_cell(key, cell, towers[cell.dataset], test))

    session.run_all = run_all
    stages.study.PREPARED = ()


def records() -> list[dict[str, Any]]:
    """Those of the study, without their version and times."""
    found = [json.loads(line) for line in FILE.with_name("tiny.jsonl").read_text().splitlines()]
    assert {record.pop("version") for record in found} == {2}
    return [record | {"seconds": 0, "cpu_seconds": 0} for record in found]


def test_a_study(project: Project, tmp_path: Path, times: Callable[[int], int]) -> None:
    project.set(methods__mmts__clustering=...)
    write_study(ablations={"components": {"methods": ["mmts"], "tuned": False}})
    rng, hits = random.Random(1), 0

    def study() -> started.Started:
        return started.start("study", told=tmp_path / "told", prepare=in_process)

    begun = time.monotonic()
    assert study().wait().code == 0
    seconds = time.monotonic() - begun
    whole, names = records(), sorted(everything(project.root))
    others = {path: path.read_bytes() for path in (FILE.with_name("tiny.json"),)}
    for number in range(10 * times(STUDY)):
        if number % 2 == 0:
            for path in FILE.parent.glob("tiny*"):
                path.unlink()
        command = study()
        time.sleep(rng.uniform(0, 1.2 * seconds))
        command.signal_all(signal.SIGKILL)
        hit = command.wait().code != 0
        hits += hit
        seconds *= 1.05 if hit else 0.9  # another load than when it was measured
        kept = Records(FILE.parent, "tiny").by_key  # a line that is cut is no record
        assert all({**of, "seconds": 0, "cpu_seconds": 0} in whole for of in kept.values())
        if number % 2:
            assert study().wait().code == 0
            assert records() == whole and sorted(everything(project.root)) == names
            assert all(path.read_bytes() == of for path, of in others.items())
            if hits >= ON_TIME * times(STUDY):
                break
    assert hits >= ON_TIME * times(STUDY)
