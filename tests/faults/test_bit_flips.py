"""One bit of an artifact flips on the disk: found before use, and the file is named."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pandas as pd
import pytest

from mmts.errors import InputError
from mmts.shards import ShardReader
from tests.conftest import Project
from tests.faults.ranks import forget
from tests.faults.started import run, start

TINY = ("--dataset", "tiny")
CELL = (*TINY, "--method", "mmts")
READ = {
    ("embed", *TINY): ["captions/tiny/captions.parquet"],
    ("cluster", *TINY): [
        "captions/tiny/captions.parquet", "embed/tiny/ids.parquet", "embed/tiny/text.npy",
        "embed/tiny/caption_text.npy", "embed/tiny/vision.npy",
    ],
    ("shift", *TINY): ["cluster/tiny/default.parquet", "cluster/tiny/kinds.parquet"],
    ("pack", *TINY): ["captions/tiny/captions.parquet", "cluster/tiny/default.parquet"],
    ("train", *CELL): [
        "embed/tiny/ids.parquet", "embed/tiny/text.npy", "embed/tiny/caption_text.npy",
        "embed/tiny/vision.npy",
        "shift/tiny/mmts/shift.parquet", "shift/tiny/mmts/clusters.parquet",
        "shards/tiny/manifest.json", "shards/tiny/index.parquet",
        "shards/tiny/train-000000.tar", "shards/tiny/val-000000.tar",
    ],
    ("evaluate", *CELL): [
        "embed/tiny/ids.parquet", "embed/tiny/vision.npy", "train/tiny/mmts/0/model.json",
        "train/tiny/mmts/0/model.safetensors", "shards/tiny/manifest.json",
        "shards/tiny/index.parquet", "shards/tiny/test-000000.tar",
    ],
    ("report",): [
        "captions/tiny/captions.parquet", "captions/tiny/summary.json",
        "embed/tiny/ids.parquet", "embed/tiny/text.npy", "embed/tiny/caption_text.npy",
        "cluster/tiny/default.parquet", "cluster/tiny/default.json",
        "cluster/tiny/kinds.parquet", "cluster/tiny/kinds.json",
        "shift/tiny/base/shift.parquet",
        "train/tiny/base/0/run.json", "train/tiny/base/0/model.json",
        "train/tiny/base/0/curves.csv",
        "evaluate/tiny/base/0/metrics.json", "evaluate/tiny/base/0/queries.parquet",
        "evaluate/tiny/base/0/retrievals.json",
        "shards/tiny/manifest.json", "shards/tiny/index.parquet", "shards/tiny/test-000000.tar",
    ],
}  # fmt: skip


def flip(path: Path, rng: random.Random, at: int | None = None) -> None:
    """Turn one bit over, as a disk does: size and time of change stay."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[rng.randrange(len(data)) if at is None else at] ^= 1 << rng.randrange(8)
    with open(path, "r+b") as file:  # the same inode
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def artifacts() -> dict[Path, bytes]:
    """All files that stages hand on."""
    files = (path for path in Path("data").rglob("*") if path.is_file())
    return {p: p.read_bytes() for p in files if p.parts[1] not in ("cache", "raw")}


def test_in_what_a_stage_reads(
    project: Project, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In each file that it reads; what else is in their folders changes nothing.

    With --fuzz all of that, without two files a stage.
    """
    most = 1000 if request.config.getoption("fuzz") else 2
    project.set(report__bootstrap=100)
    assert project.run("evaluate", *CELL).code == 0
    rng, before = random.Random(7), artifacts()
    for (stage, *arguments), names in READ.items():
        read = [Path("data") / name for name in names]
        folders = {path.parent for path in read}
        beside = sorted(
            path for path in before
            if path.parent in folders and path not in read and path.name != "SHA256SUMS"
        )  # fmt: skip
        for path in read + rng.sample(beside, min(most, len(beside))):
            forget()
            flip(path, rng)
            Path("data/cache/verified.json").unlink(missing_ok=True)  # shards are hashed once
            ran = run(stage, *arguments, told=tmp_path / "told")
            if ran.code == 0:
                assert path not in read, path
                path.write_bytes(before[path])
                assert artifacts() | before == artifacts()
            else:
                assert ran.code == 1 and ran.err.count("\n") == 1, (path, ran)
                assert str(path) in ran.err and "dvc repro" in ran.err, (path, ran)
                assert "SHA" in ran.err, (path, ran)  # told by its digest, not by luck
                path.write_bytes(before[path])
    assert artifacts() | before == artifacts()


def test_in_the_list_of_digests(project: Project, tmp_path: Path) -> None:
    project.set(report__bootstrap=100)
    assert project.run("evaluate", *CELL).code == 0
    rng = random.Random(7)
    for (stage, *arguments), names in READ.items():
        path = Path("data") / names[0]
        sums = path.parent / "SHA256SUMS"
        whole = sums.read_bytes()
        forget()
        flip(sums, rng, whole.index(f"  {path.name}\n".encode()) - rng.randrange(-3, 60))
        ran = run(stage, *arguments, told=tmp_path / "told")
        assert ran.code == 1 and ran.err.startswith(f"error: {sums.parent}/"), (sums, ran)
        assert "SHA256SUMS" in ran.err and "dvc repro" in ran.err, (sums, ran)
        sums.write_bytes(whole)


def test_in_a_shard_whose_hash_was_right_before(project: Project) -> None:
    """Long after the shard was hashed, where nothing but the bit itself has changed."""
    folder = Path("data/shards/tiny")
    for path in folder.iterdir():
        os.utime(path, ns=(10**18, 10**18))
    for _ in range(2):
        ShardReader(folder, "train").image_bytes(3)
    places = pd.read_parquet(folder / "index.parquet").query("split == 'train'").iloc[3]
    path = folder / places["shard"]
    flip(path, random.Random(7), places["image_offset"] + places["image_bytes"] // 2)
    reader = ShardReader(folder, "train")  # its hash is remembered
    reader.image_bytes(2)
    with pytest.raises(InputError, match=rf"^{path} is damaged in its picture 3; run `dvc repro"):
        reader.image_bytes(3)


def test_in_a_checkpoint(project: Project, tmp_path: Path) -> None:
    """In each of its files; the checkpoint before it is good to go on from."""
    train = {"every_steps": 1, "every_minutes": 0}
    project.set(datasets__tiny__train__checkpoint=train)

    def die_at_the_end() -> None:
        import stages.train

        stages.train.save = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)

    forget()
    told = tmp_path / "told"
    ran = start("train", *CELL, told=told, prepare=die_at_the_end).wait()
    assert ran.code == -signal.SIGKILL
    first, last = sorted(Path("data/cache/checkpoints").rglob("step-*"))
    rng = random.Random(7)
    names = {path.name for path in last.iterdir()}
    assert names == {"SHA256SUMS", "facts.json", "model.safetensors", "rank-0.pt", "state.pt"}
    for path in sorted(last.iterdir()):
        whole = path.read_bytes()
        flip(path, rng)
        ran = run("train", *CELL, told=told)
        assert ran.code == 1 and ran.err.count("\n") == 1, (path, ran)
        named = last if path.name == "SHA256SUMS" else path  # or the file whose digest it spoilt
        assert str(named) in ran.err and f"delete {last} to go on from" in ran.err, ran
        path.write_bytes(whole)
    flip(last / "state.pt", rng)
    for path in sorted(last.iterdir()):
        path.unlink()
    last.rmdir()
    ran = project.run("train", *CELL)
    assert ran.code == 0 and f"goes on from {first}" in ran.out
