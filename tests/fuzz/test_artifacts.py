"""What our own stages wrote, as somebody else may hand it to us: tables, vectors, shards."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmts.captions_table import SPLITS, read_captions
from mmts.embeddings import read_embeddings
from mmts.settings.prepared import Pack
from mmts.shards import ShardReader, write_shards
from mmts.shards.stream import ShardStream
from mmts.shards.streamed import StreamedReader
from mmts.shift import shift_table
from tests.fuzz.hostile import fewer, odd_json, write
from tests.fuzz.odd_tables import odd_parquet
from tests.fuzz.odd_tars import odd_tar, tar_member
from tests.fuzz.outcome import Refused, outcome
from tests.fuzz.test_score_files import arrays
from tests.making import write_picture
from tests.test_shards import item

CAPTIONS = pd.DataFrame(
    {
        "source": "pairs", "split": [*SPLITS, "train"], "sample_id": [f"{n}.jpg" for n in range(4)],
        "caption_id": [f"{n}.jpg#0" for n in range(4)], "caption": [*"abcd"],
        "media": [f"raw/{n}.jpg" for n in range(4)], "media_bytes": np.arange(4) + 700,
        "media_sha256": ["0" * 64] * 4, "class_kind": ["x", "y", "", "x"],
    }
)  # fmt: skip


@given(odd_parquet(CAPTIONS))
def test_captions(folder: Path, data: bytes) -> None:
    write(folder / "captions.parquet", data)
    found = outcome(read_captions, folder)
    if not isinstance(found, Refused):
        for name in ("source", "split", "sample_id", "caption_id", "caption", "media"):
            assert all(type(value) is str for value in found[name].tolist()), name
        assert found["split"].isin(SPLITS).all() and found["caption_id"].is_unique
        assert found["media_bytes"].dtype.kind in "iu" or found.empty


VECTORS = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
ROWS = np.array([0, 1, 3, 2])


@given(arrays(VECTORS), arrays(ROWS), st.one_of(st.none(), arrays(VECTORS)))
def test_embeddings(folder: Path, text: bytes, rows: bytes, vision: bytes | None) -> None:
    made = folder / "embed"
    shutil.rmtree(made, ignore_errors=True)
    write(made / "text.npy", text), write(made / "caption_text.npy", rows)
    if vision is not None:
        write(made / "vision.npy", vision)
    found = outcome(read_embeddings, made)
    if not isinstance(found, Refused):
        for vectors in (found.text, found.vision):
            assert vectors is None or (vectors.ndim == 2 and vectors.dtype == np.float32)
        assert found.caption_text.ndim == 1
        assert ((found.caption_text >= 0) & (found.caption_text < len(found.text))).all()


CLUSTERS = pd.DataFrame(
    {"caption_id": [*"abcd"], "cluster_id": np.int32([0, 0, 1, -1]), "cluster_size": [2, 2, 1, 0]}
)


@given(odd_parquet(CLUSTERS))
def test_clusters_and_their_shift(folder: Path, data: bytes) -> None:
    from mmts.clusters import read_clusters

    write(folder / "default.parquet", data)
    found = outcome(read_clusters, folder / "default.parquet")
    if isinstance(found, Refused):
        return
    assert found["caption_id"].is_unique
    shifts = outcome(lambda: shift_table(found, shift_min=0.1, shift_max=0.1))
    if not isinstance(shifts, Refused):
        assert shifts["cluster_id"].is_unique and np.isfinite(shifts["shift"]).all()


SHIFTS = pd.DataFrame({"cluster_id": np.int32([0, 1]), "cluster_size": [2, 1], "shift": [0.2, 0.1]})


@given(odd_parquet(SHIFTS))
def test_shift_table(folder: Path, data: bytes) -> None:
    from mmts.clusters import read_shifts

    found = outcome(read_shifts, write(folder / "shift.parquet", data), "run it again")
    if not isinstance(found, Refused):
        assert found["cluster_id"].is_unique and np.isfinite(found["shift"]).all()


METHOD = CLUSTERS[["caption_id", "cluster_id"]].assign(class_verb=[0, 1, 1, 2])


@given(odd_parquet(METHOD))
def test_clusters_of_a_method(folder: Path, data: bytes) -> None:
    from mmts.clusters import CLASS, read_method_clusters

    found = outcome(read_method_clusters, write(folder / "clusters.parquet", data), "run it again")
    if not isinstance(found, Refused):
        assert found["caption_id"].is_unique
        whole = [name for name in found if str(name) == "cluster_id" or str(name).startswith(CLASS)]
        assert found.empty or all(found[name].dtype.kind in "iu" for name in whole)


# --- shards ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packed(folder: Path) -> Path:
    """Six pictures in two shards; not to be changed."""
    made = folder / "packed"
    made.mkdir()
    found = [item(str(write_picture(folder / f"p/{n}.jpg", n))) for n in range(6)]
    write_shards(made, found, {0: 6}, Pack(shard_size=3))
    return made


def _opened(made: Path) -> list[bytes]:
    reader = ShardReader(made, "train")
    assert len(reader) == len(reader.samples)
    assert all(type(c) is int and type(n) is int for c, n in reader.cluster_size.items())
    return [reader.image_bytes(number) for number in range(len(reader))]


def _streamed(made: Path) -> int:
    reader = StreamedReader(made, "train")
    return sum(len(reader.hold([s])) for s in ShardStream(str(made), "train", seed=0))


@given(st.data())
def test_manifest(folder: Path, packed: Path, data: st.DataObject) -> None:
    made = shutil.copytree(packed, folder / "manifest", dirs_exist_ok=True)
    manifest = json.loads((packed / "manifest.json").read_text())
    write(made / "manifest.json", data.draw(odd_json(manifest)))
    outcome(_opened, made)
    outcome(_streamed, made)


@fewer(2)
@given(st.data())
def test_index(folder: Path, packed: Path, data: st.DataObject) -> None:
    """The manifest says of the odd index that it is the right one."""
    made = shutil.copytree(packed, folder / "index", dirs_exist_ok=True)
    index = data.draw(odd_parquet(pq.read_table(packed / "index.parquet")))
    write(made / "index.parquet", index)
    manifest = json.loads((packed / "manifest.json").read_text())
    manifest["index_sha256"] = hashlib.sha256(index).hexdigest()
    write(made / "manifest.json", json.dumps(manifest).encode())
    found = outcome(_opened, made)
    if not isinstance(found, Refused):
        assert all(len(picture) < 100_000 for picture in found)
    outcome(_streamed, made)


SAID = {"sample_id": "a", "source": "s", "split": "train", "captions": ["a"], "cluster_id": [0]}


@given(st.data())
def test_stream(folder: Path, data: st.DataObject) -> None:
    members = {f"{n:08d}.{end}": b"x" for n in range(2) for end in ("jpg", "json")}
    for name in members:
        if name.endswith("json"):
            members[name] = data.draw(odd_json(SAID))
    tar = data.draw(odd_tar(members))
    write(folder / "stream/train-000000.tar", tar)
    found = outcome(_samples, folder / "stream")
    if not isinstance(found, Refused):
        for sample in found:
            assert isinstance(sample.said, dict) and sum(map(len, sample.members.values())) <= len(
                tar
            )


def _samples(made: Path) -> list[Any]:
    shards = {"train-000000.tar": {"split": "train"}}
    return list(ShardStream(str(made), "train", seed=0, shards=shards))


def test_a_compressed_shard_is_refused(folder: Path) -> None:
    import gzip

    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
        file.write(tar_member("0.jpg", b"", size=b"%011o\0" % (64 << 20)))
        for _ in range(4):
            file.write(bytes(16 << 20))
        file.write(bytes(1024))
    write(folder / "bomb/train-000000.tar", buffer.getvalue())
    assert isinstance(outcome(_samples, folder / "bomb"), Refused)
