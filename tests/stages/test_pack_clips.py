"""The pack command on clips: what it prints, and that it goes on after kill -9 and Ctrl-C."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mmts.files import read_json
from mmts.shards import Item, ShardReader
from tests import patience
from tests.conftest import Project
from tests.making_clips import clip, files, write_project, write_videos

ROOT = Path(__file__).parents[2]
TINY = ("--dataset", "tiny")
OUT, KEPT = Path("data/shards/tiny"), Path("data/cache/pack/tiny")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight of 12 seconds."""
    return write_videos(tmp_path_factory.mktemp("pack") / "videos", 8, seconds=12)


@pytest.fixture
def found(videos: list[Path]) -> list[Item]:
    splits = ["train"] * 6 + ["val", "test"]
    return [
        clip(path, n, 2 * n, 2 * n + 2.5 - n % 2, split)
        for path, split in zip(videos, splits, strict=True)
        for n in range(5)
    ]


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys.readouterr)


def heard() -> None:
    """Ctrl-C reaches the command even where the tests run in the background, deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(**more: Any) -> subprocess.Popen[str]:
    """The command as a process in a session of its own, so that a signal reaches it alone."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.pack", *TINY], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=heard, **more,
    )  # fmt: skip


def kept_notes() -> list[Path]:
    """Those of videos that are done: the folders of the others have names that begin with a dot."""
    return list(KEPT.glob("*/[!.]*/note.json"))


def after_kept(process: subprocess.Popen[str], count: int) -> None:
    """Wait until so many videos are kept."""
    end = time.monotonic() + patience.seconds(60)
    while len(kept_notes()) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.001)


def undisturbed(project: Project, found: list[Item]) -> dict[str, bytes]:
    write_project(project.root, found)
    ran = project.run("pack", *TINY)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("16 shards: {'train': 30, 'val': 5, 'test': 5}\n")
    made = files(OUT)
    OUT.rename("undisturbed")
    assert not list(KEPT.glob("*/*"))
    return made


@pytest.mark.parametrize(("workers", "seed"), [(0, 0), (2, 1)])
def test_killed_half_way_it_goes_on(
    project: Project, found: list[Item], workers: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = undisturbed(project, found)
    write_project(project.root, found, workers=workers)
    process = started()
    after_kept(process, random.Random(seed).randint(1, 5))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.communicate()  # ends when no process of it holds the pipes any more
    done = {read_json(note)["media"] for note in kept_notes()}
    assert 0 < len(done) < 8 and not OUT.exists()

    from mmts.shards import cutting

    passes: list[str] = []
    original = cutting.cut_many

    def counted(media: str, *arguments: Any, **settings: Any) -> Any:
        passes.append(media)
        return original(media, *arguments, **settings)

    monkeypatch.setattr(cutting, "cut_many", counted)
    write_project(project.root, found, workers=0)  # other workers fit what is kept
    ran = project.run("pack", *TINY)
    assert (ran.code, ran.err) == (0, "")
    said = f"{len(done)} of 8 videos were cut by an earlier run that was interrupted\n"
    assert ran.out.startswith(said)
    assert sorted([*passes, *done]) == sorted({item.media for item in found})
    assert files(OUT) == made and not list(KEPT.glob("*/*"))
    assert [p.name for p in Path("data/shards").iterdir()] == ["tiny"]
    assert all(path.stat().st_nlink == 1 for path in OUT.iterdir())


def test_what_another_plan_keeps_stays(project: Project, found: list[Item]) -> None:
    """Workspaces that share a cache take nothing away from each other."""
    write_project(project.root, found)
    other = KEPT / ("0" * 16) / "video"
    other.mkdir(parents=True)
    assert project.run("pack", *TINY).code == 0
    assert list(KEPT.glob("*/*")) == [other]


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_stops_at_once_without_a_traceback(
    project: Project, found: list[Item], workers: int
) -> None:
    write_project(project.root, found, workers=workers)
    process = started()
    after_kept(process, 1)
    with patience.within(5):
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=patience.seconds(30))
    assert process.returncode == 130 and "Traceback" not in err and "Error" not in err, err
    assert not OUT.exists() and not Path("data/shards/.tiny.partial").exists()
    kept = list(KEPT.glob("*/*"))
    assert kept and all((folder / "note.json").exists() for folder in kept)


def test_lost_clips_are_counted(project: Project, found: list[Item], tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    found = [*found[25:], clip(text, 0, 0, 1), clip(text, 1, 1, 2), clip(Path("none.mp4"), 0, 0, 1)]
    write_project(project.root, found, max_bad_share=0.2, frame_rate=5)
    ran = project.run("pack", *TINY)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "6 shards: {'train': 5, 'val': 5, 'test': 5}",
        "clips with fewer than 4 frames: "
        "train 0 of 5 (0.0%), val 0 of 5 (0.0%), test 0 of 5 (0.0%)",
        "clips with fewer than 16 frames: "
        "train 5 of 5 (100.0%), val 5 of 5 (100.0%), test 5 of 5 (100.0%)",
        "3 clips of 2 videos lost (listed in data/shards/tiny/lost.parquet)",
    ]
    assert len(ShardReader(OUT, "train").segment(0)) == 13
    write_project(project.root, found, max_bad_share=0.1, frame_rate=5)
    before = files(Path("data"))
    ran = project.run("pack", *TINY)
    assert ran.code == 1 and ran.out == "" and len(ran.err.splitlines()) == 1
    assert ran.err.startswith(
        "error: 2 of 18 clips are lost so far (11.11%), above pack.max_bad_share 0.1; the first is "
        f"text_0 ({text} is not a video"
    )
    after = files(Path("data"))
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("cache/pack/tiny/") for name in set(after) - set(before))


@pytest.mark.parametrize(("key", "value"), [("quality", 96), ("workers", -1)])
def test_settings(project: Project, found: list[Item], key: str, value: int) -> None:
    write_project(project.root, found)
    project.set(**{f"datasets__tiny__pack__{key}": value})
    ran = project.run("pack", *TINY)
    message = f"error: params.yaml: datasets.tiny.pack.{key} is {value}; it should be "
    assert ran.code == 1 and ran.err.startswith(message) and ran.err.count("\n") == 1
    assert not OUT.exists() and not list(KEPT.glob("*/*"))


def test_no_size_for_clips(project: Project, found: list[Item]) -> None:
    write_project(project.root, found, image_size=None)
    ran = project.run("pack", *TINY)
    message = "error: pack.image_size is null; clips of videos need a number"
    assert ran.code == 1 and ran.err.startswith(message) and ran.err.count("\n") == 1
    assert not OUT.exists() and not list(KEPT.glob("*/*"))


def test_annotations_without_videos(project: Project, found: list[Item]) -> None:
    write_project(project.root, [item._replace(media="", media_bytes=0) for item in found])
    ran = project.run("pack", *TINY)
    assert ran.code == 1 and ran.err == (
        "error: the clips of source s have no media (`videos: null`), so there is nothing to pack "
        "or to train on; set captions.sources.s.videos to the folder of videos\n"
    )
    assert not OUT.exists() and not list(KEPT.glob("*/*"))
