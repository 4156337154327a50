"""Pictures that stay in the tars where they are: read as from a packed copy, checked as it is."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from mmts.captions_table import SPLITS
from mmts.errors import InputError
from mmts.media import MediaFacts, MediaReader
from mmts.sealed import sha256_file
from mmts.settings.prepared import Pack
from mmts.shards import Item, ShardReader, tars, verified, write_shards
from mmts.shards.stream import ShardStream
from mmts.shards.streamed import StreamedReader
from mmts.shards.tars import Job, survey
from tests.making import picture, write_picture
from tests.sources.making_img2dataset import listed, members, write_tar

RAW, COPY, HERE = Path("data/raw/made"), Path("data/shards/copy"), Path("data/shards/here")
SIZES = dict.fromkeys(range(24), 1)
FIRST, SECOND = f"{RAW}/00000.tar", f"{RAW}/00001.tar"


def item(media: str, split: str, number: int) -> Item:
    facts = MediaFacts.of(MediaReader().read(media))
    caption = f"picture {number}, שלום"
    return Item("s", split, f"s/{number}", media, *facts, None, None, [caption, "NA"],
                [f"{number}#0", f"{number}#1"], [number, 0], {})  # fmt: skip


def an_hour_old(path: Path) -> Path:
    """The file, as if it was last written an hour ago."""
    then = path.stat().st_mtime_ns - 3600 * 10**9
    os.utime(path, ns=(then, then))
    return path


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    """12 pictures in two tars, one of them WebP, and 4 plain files; splits take turns."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    rows = listed(12)
    content = members(rows[:6]) | {"000000002.webp": picture(2, coded="WEBP")}
    del content["000000002.jpg"]
    an_hour_old(write_tar(RAW / "00000.tar", content))
    an_hour_old(write_tar(RAW / "00001.tar", members(rows[6:], "png")))
    made = []
    for n in range(12):
        ending = "webp" if n == 2 else "jpg" if n < 6 else "png"
        split = "train" if n < 8 else ("val", "train")[n % 2]
        made.append(item(f"{RAW}/0000{n // 6}.tar::{n:09d}.{ending}", split, n))
    for n in range(12, 16):
        file = write_picture(RAW / f"files/{n}.{'jpg' if n % 2 else 'png'}", n)
        made.insert(3 * (n - 12), item(str(file), ("test", "train")[n % 2], n))
    return made


def pack(folder: Path, found: list[Item], in_place: bool = True) -> dict[str, dict[str, object]]:
    folder.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, dict[str, object]] = write_shards(
        folder, found, SIZES, Pack(shard_size=4, in_place=in_place)
    )
    return manifest


def test_they_are_read_as_from_a_packed_copy(found: list[Item]) -> None:
    wanted, manifest = pack(COPY, found, in_place=False), pack(HERE, found)
    assert "tars" not in wanted and manifest["samples"] == wanted["samples"]
    for split in SPLITS:
        copied, here = ShardReader(COPY, split), ShardReader(HERE, split)
        assert list(here.samples) == list(copied.samples)
        assert [s["sample_id"] for s in here.samples] == [
            one.sample_id for one in found if one.split == split
        ]
        assert here.cluster_size == copied.cluster_size == SIZES
        again = pickle.loads(pickle.dumps(here))
        for n in range(len(copied)):
            assert again.image_bytes(n) == here.image_bytes(n) == copied.image_bytes(n)


def test_only_what_is_in_no_tar_or_must_change_is_copied(found: list[Item]) -> None:
    manifest = pack(HERE, found)
    assert {path.name for path in HERE.iterdir()} == {
        "train-000000.tar", "test-000000.tar", "index.parquet", "manifest.json", "SHA256SUMS",
    }  # fmt: skip
    samples = {name: facts["samples"] for name, facts in manifest["shards"].items()}  # type: ignore[index]
    assert samples == {"train-000000.tar": 3, "test-000000.tar": 2}
    for name, count in ((FIRST, {"train": 5}), (SECOND, {"train": 4, "val": 2})):
        assert manifest["tars"][name] == {
            "samples": count, "bytes": Path(name).stat().st_size, "sha256": sha256_file(name)
        }  # fmt: skip
    index = pd.read_parquet(HERE / "index.parquet")
    for row in index[index["json_bytes"] == 0].itertuples():
        with tarfile.open(str(row.shard)) as tar:
            member = tar.getmember(f"{row.key}.{row.extension}")
        assert (member.offset_data, member.size) == (row.image_offset, row.image_bytes)
    before = {path.name: path.read_bytes() for path in HERE.iterdir()}
    pack(HERE, found)
    assert before == {path.name: path.read_bytes() for path in HERE.iterdir()}


def test_a_tar_is_read_once(found: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real, hashes = tars._read, verified.sha256_file
    monkeypatch.setattr(tars, "_read", lambda path: (read.append(path.name), real(path))[1])
    monkeypatch.setattr(
        verified, "sha256_file", lambda path: (read.append(path.name), hashes(path))[1]
    )
    first = pack(HERE, found)
    assert read == ["00000.tar", "00001.tar"]
    again = pack(HERE, [one._replace(cluster_id=[1, 1]) for one in found])
    assert first["tars"] == again["tars"] and first["index_sha256"] != again["index_sha256"]
    ShardReader(HERE, "val")
    assert read[2:] == ["index.parquet"]
    assert ShardReader(HERE, "train").samples[3]["cluster_id"] == [1, 1]
    read.clear()
    os.utime(FIRST)  # just written: what is found now is not kept
    for kept in Path("data/cache/tars").iterdir():
        kept.write_bytes(b"damaged")
    assert [pack(HERE, found), pack(HERE, found)] == [first, first]
    assert read == ["00000.tar", "00001.tar", "00000.tar"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    os.truncate(path, 2000)  # in the first picture


def replace(path: Path) -> None:
    path.write_bytes(Path(SECOND).read_bytes())


@pytest.mark.parametrize(
    ("damage", "said"),
    [(flip, "does not match the SHA-256 in manifest.json"), (cut, "bytes, not the"),
     (replace, "bytes, not the"), (Path.unlink, "is not there")],
)  # fmt: skip
def test_damage_is_named_before_training(
    found: list[Item], damage: Callable[[Path], None], said: str
) -> None:
    pack(HERE, found)
    damage(Path(FIRST))
    with pytest.raises(InputError, match=said) as caught:
        ShardReader(HERE, "train")
    assert str(caught.value).startswith(f"{FIRST} ")
    assert str(caught.value).endswith("put it back, or run `dvc repro -sf captions`")
    assert len(ShardReader(HERE, "val")) == 2  # is in the other tar


def test_a_tar_that_is_cut_while_it_is_read(found: list[Item]) -> None:
    pack(HERE, found)
    reader = ShardReader(HERE, "val")
    os.truncate(SECOND, 700)
    with pytest.raises(InputError, match=f"^{SECOND} ends before its picture 1; put it back"):
        reader.image_bytes(1)


@pytest.mark.parametrize(
    ("damage", "said"),
    [(flip, r"00000\.tar"), (cut, r"00000\.tar is not a whole, .*\(unexpected end of data\)"),
     (replace, r"00000\.tar::000000000\.jpg \(s/0\) is not there as a regular file"),
     (Path.unlink, r"00000\.tar cannot be read \(No such file"),
     (lambda path: path.write_bytes(b""), r"00000\.tar is not a whole, .*\(empty file\)")],
)  # fmt: skip
def test_damage_is_named_at_packing(
    found: list[Item], damage: Callable[[Path], None], said: str
) -> None:
    damage(Path(FIRST))
    with pytest.raises(InputError, match=rf"^{RAW}/{said}.*`dvc repro -sf captions`$"):
        pack(HERE, found)


def test_a_member_that_changed(found: list[Item]) -> None:
    found[1] = found[1]._replace(media_sha256="0" * 64)
    for _ in range(2):  # what was kept is compared too
        with pytest.raises(InputError, match=r"::000000000\.jpg \(s/0\) has changed since the"):
            pack(HERE, found)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_are_never_followed(found: list[Item], kind: bytes) -> None:
    """Neither out of the tar nor to another member."""
    with tarfile.open(FIRST, "w") as tar:
        real = tarfile.TarInfo("real.jpg")
        real.size = len(picture(0, coded="JPEG"))
        tar.addfile(real, io.BytesIO(picture(0, coded="JPEG")))
        link = tarfile.TarInfo("000000000.jpg")
        link.type, link.linkname = kind, "real.jpg"
        tar.addfile(link)
    assert next(survey(Job(Path(FIRST), None))).members["name"].to_pylist() == ["real.jpg"]
    with pytest.raises(InputError, match=r"::000000000\.jpg .* is not there as a regular file"):
        pack(HERE, found)


def test_the_project_moves(
    found: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = an_hour_old(write_tar(tmp_path / "store/a.tar", {"x.png": picture(99)}))
    media = f"{outside}::x.png"
    manifest = pack(HERE, [*found, item(media, "test", 99)])
    assert list(manifest["tars"]) == [FIRST, SECOND, str(outside)]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project").rename(tmp_path / "moved")
    for folder in (Path("moved") / HERE, tmp_path / "moved" / HERE):  # from any working folder
        assert ShardReader(folder, "val").image_bytes(0) == picture(8)
        assert ShardReader(folder, "test").image_bytes(2) == picture(99)
    (tmp_path / "store").rename(tmp_path / "gone")
    with pytest.raises(InputError, match=rf"^{outside} is not there; put it back"):
        ShardReader(tmp_path / "moved" / HERE, "test")


def test_what_processes_hand_over(found: list[Item]) -> None:
    one = next(survey(Job(Path(SECOND), None)))
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.members["extension"].to_pylist() == ["png"] * 6


def test_what_cannot_be(found: list[Item]) -> None:
    with pytest.raises(ValidationError, match="in_place is true but image_size is 64; pictures"):
        Pack(shard_size=4, in_place=True, image_size=64)
    pack(HERE, found)
    with pytest.raises(InputError, match="cannot be streamed; pack with"):
        ShardStream(str(HERE), "train", seed=0)
    with pytest.raises(InputError, match="split val in tars in place, which cannot be streamed"):
        StreamedReader(HERE, "val")
    assert len(StreamedReader(HERE, "test")) == 2  # is in none
