import gc
import io
import json
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import webdataset
from PIL import Image
from tqdm import tqdm

from mmts.captions_table import SPLITS
from mmts.errors import InputError
from mmts.files import read_json, write_json
from mmts.media import MediaFacts, MediaReader, decode_image
from mmts.sealed import sha256_file
from mmts.settings.prepared import Pack
from mmts.shards import Item, ShardReader, cluster_sizes, items, verified, write_shards
from mmts.shards.archive import ShardFile, header
from mmts.shards.items import BAR_OF_UNEVEN_WORK, sample_json
from mmts.shards.samples import column, counts, flat, places
from tests.making import picture, take_in_hand, write_picture

SIZES = {10: 2, 2: 7, -1: 0}


def item(path: str, split: str = "train", **more: Any) -> Item:
    size, sha256 = MediaFacts.of(MediaReader().read(path))
    names = more.pop("captions", [f"a picture of {Path(path).name}"])
    ids = [f"{path}#{n}" for n in range(len(names))]
    return Item(
        "s", split, path, path, size, sha256, None, None, names, ids, list(range(len(names))), {}
    )


def found_items(folder: Path, count: int = 12) -> list[Item]:
    """12 train, 3 val and 2 test pictures."""
    sizes = [*["train"] * count, *["val"] * 3, *["test"] * 2]
    paths = [folder / f"{n}.{'png' if n % 2 else 'jpg'}" for n in range(len(sizes))]
    made = [
        item(str(write_picture(p, n)), s) for n, (p, s) in enumerate(zip(paths, sizes, strict=True))
    ]
    words = ["NA", 'a "quoted" one', "שלום \u200f", "two\r\nlines", "emoji 👩🏽‍🚀"]
    made[0] = item(made[0].media, captions=words)
    return made


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, list[Item]]:
    found = found_items(tmp_path / "pictures")
    (tmp_path / "out").mkdir()
    write_shards(tmp_path / "out", found, SIZES, Pack(shard_size=5))
    return tmp_path / "out", found


def test_names_manifest_and_index(packed: tuple[Path, list[Item]]) -> None:
    folder, _ = packed
    shards = {"train-000000.tar": 5, "train-000001.tar": 5, "train-000002.tar": 2,
              "val-000000.tar": 3, "test-000000.tar": 2}  # fmt: skip
    assert {p.name for p in folder.iterdir()} == {
        *shards,
        "manifest.json",
        "index.parquet",
        "SHA256SUMS",
    }
    manifest = read_json(folder / "manifest.json")
    assert {n: s["samples"] for n, s in manifest["shards"].items()} == shards
    assert manifest["samples"] == {"train": 12, "val": 3, "test": 2}
    for name, facts in manifest["shards"].items():
        assert facts["sha256"] == sha256_file(folder / name)
        assert facts["split"] == name.split("-")[0]
    assert manifest["index_sha256"] == sha256_file(folder / "index.parquet")


def test_index_says_where_each_member_is(packed: tuple[Path, list[Item]]) -> None:
    folder, found = packed
    index = pd.read_parquet(folder / "index.parquet")
    assert index["sample_id"].tolist() == [i.sample_id for i in found]
    for row in index.itertuples():
        data = (folder / row.shard).read_bytes()
        image = data[row.image_offset : row.image_offset + row.image_bytes]
        assert image == Path(row.sample_id).read_bytes()
        text = json.loads(data[row.json_offset : row.json_offset + row.json_bytes])
        assert text["sample_id"] == row.sample_id
        with tarfile.open(folder / row.shard) as tar:
            assert tar.extractfile(f"{row.key}.{row.extension}").read() == image  # type: ignore[union-attr]


def test_byte_for_byte_the_same(packed: tuple[Path, list[Item]], tmp_path: Path) -> None:
    folder, found = packed
    again = tmp_path / "again"
    again.mkdir()
    write_shards(again, found, SIZES, Pack(shard_size=5))
    names = sorted(p.name for p in folder.iterdir())
    assert names == sorted(p.name for p in again.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


@pytest.mark.parametrize("sizes", [[0], [1, 511, 512, 513], [9000, 1], [0] * 30, [1 << 21, 3]])
def test_the_bytes_of_tarfile(tmp_path: Path, sizes: list[int]) -> None:
    one, rng = item(str(write_picture(tmp_path / "a.png", 0))), np.random.default_rng(0)
    with (
        ShardFile(tmp_path / "ours.tar", "train") as shard,
        tarfile.open(tmp_path / "wanted.tar", "w:", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for n, size in enumerate(sizes):
            data = rng.bytes(size)
            shard.add_sample(f"{n:08d}", one, {"jpg": data})
            for ending, content in (("jpg", data), ("json", sample_json(one))):
                member = tarfile.TarInfo(f"{n:08d}.{ending}")
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
    assert (tmp_path / "ours.tar").read_bytes() == (tmp_path / "wanted.tar").read_bytes()
    facts = shard.facts()
    assert facts.sha256 == sha256_file(tmp_path / "wanted.tar")
    assert facts.bytes == (tmp_path / "wanted.tar").stat().st_size
    assert [place.image_bytes for place in facts.places] == sizes


def test_headers_that_a_tar_cannot_have() -> None:
    with pytest.raises(InputError, match=r"a\.jpg has 8,589,934,592 bytes; .* at most"):
        header("a.jpg", 8**11)
    with pytest.raises(InputError, match="longer than the 100 characters"):
        header("a" * 101, 1)


def test_columns_are_what_the_samples_say(packed: tuple[Path, list[Item]]) -> None:
    folder, _ = packed
    samples = ShardReader(folder, "train").samples
    rows = list(samples)
    assert samples[3] == rows[3] and samples[-1] == rows[-1] and samples[2:4] == rows[2:4]
    for place in (12, -13):
        with pytest.raises(IndexError, match="of 12"):
            samples[place]
    for name in ("sample_id", "source", "captions", "cluster_id", "sentence"):
        assert column(samples, name) == column(rows, name)
    assert column(rows, "sentence") is None and column(samples, "source") == ["s"] * 12
    for name in ("captions", "caption_ids", "cluster_id", "sentence"):
        assert flat(samples, name) == flat(rows, name)
    assert counts(samples).tolist() == counts(rows).tolist() == [5] + [1] * 11
    texts, plain = flat(samples, "captions"), flat(rows, "captions") or []
    assert texts is not None and list(texts) == plain and len(texts) == 16
    assert (texts[3], texts[-1], texts[2:5], texts[9:2:-3]) == (
        plain[3], plain[-1], plain[2:5], plain[9:2:-3]
    )  # fmt: skip
    ids = column(samples, "sample_id") or []
    assert places([ids[4], "none", ids[0]], ids).tolist() == [4, -1, 0]
    assert places(ids, pd.Series(list(ids)[::-1])).tolist() == list(range(11, -1, -1))
    keys = ["sample_id", "source", "split", "captions", "caption_ids", "cluster_id"]
    assert all(list(row) == keys for row in rows)


def test_an_index_of_an_older_version(packed: tuple[Path, list[Item]]) -> None:
    folder, _ = packed
    path, manifest = take_in_hand(folder / "index.parquet"), read_json(folder / "manifest.json")
    for lacking in ("image_crc32", "captions"):
        pd.read_parquet(path).drop(columns=lacking).to_parquet(path)
        write_json(folder / "manifest.json", {**manifest, "index_sha256": sha256_file(path)})
        with pytest.raises(InputError, match=rf"parquet has no {lacking}: .*; run `dvc repro"):
            ShardReader(folder, "train")


def open_shards() -> int:
    """Files of shards that this process has open; those of others come and go."""
    found = (os.path.realpath(path) for path in Path("/proc/self/fd").iterdir())
    return sum(path.endswith(".tar") for path in found)


@pytest.mark.parametrize(
    ("name", "few"), [("OPEN_FILES", 2), ("getrlimit", lambda _: (8, 8))], ids=["ours", "ulimit"]
)
def test_open_files_are_few_and_closed(
    packed: tuple[Path, list[Item]], monkeypatch: pytest.MonkeyPatch, name: str, few: object
) -> None:
    folder, found = packed
    if not Path("/proc/self/fd").exists():
        pytest.skip("no list of open files")
    monkeypatch.setattr(f"mmts.shards.reader.{name}", few)
    gc.collect()  # readers of other tests
    before, reader = open_shards(), ShardReader(folder, "train")
    for n in (0, 11, 5, 0, 11):
        assert reader.image_bytes(n) == Path(found[n].media).read_bytes()
        assert open_shards() <= before + 2
    again = pickle.loads(pickle.dumps(reader))
    assert again.image_bytes(7) == reader.image_bytes(7)
    del reader, again
    assert open_shards() == before


def test_a_shard_that_is_cut_after_it_was_opened(packed: tuple[Path, list[Item]]) -> None:
    folder, _ = packed
    reader = ShardReader(folder, "train")
    with open(folder / "train-000002.tar", "r+b") as file:
        file.truncate(700)
    with pytest.raises(InputError, match=r"train-000002\.tar ends before its picture 11; run `dvc"):
        reader.image_bytes(11)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are hashed."""
    names: list[str] = []

    def counted(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(verified, "sha256_file", counted)
    return names


@pytest.fixture
def settled(packed: tuple[Path, list[Item]], tmp_path: Path) -> Path:
    """Shards where the stages put them, last written an hour ago."""
    folder = tmp_path / "data/shards/made"
    shutil.copytree(packed[0], folder)
    for path in folder.iterdir():
        age(path, 3600)
    return folder


def age(path: Path, seconds: int) -> None:
    then = path.stat().st_mtime_ns - seconds * 10**9
    os.utime(path, ns=(then, then))


def test_each_shard_is_hashed_once(settled: Path, hashed: list[str]) -> None:
    """The index is each time: what stands in it is in no CRC-32."""
    first = ["index.parquet", "train-000000.tar", "train-000001.tar", "train-000002.tar"]
    ShardReader(settled, "train")
    assert sorted(hashed) == first
    hashed.clear()
    ShardReader(settled, "train")
    assert hashed == ["index.parquet"]
    hashed.clear()
    ShardReader(settled, "val")
    assert hashed == ["val-000000.tar", "index.parquet"]
    hashed.clear()
    age(settled / "train-000001.tar", 60)  # another mtime
    again = settled / "again"
    shutil.copy2(settled / "train-000000.tar", again)
    again.replace(settled / "train-000000.tar")  # another inode
    ShardReader(settled, "train")
    assert sorted(hashed) == ["index.parquet", "train-000000.tar", "train-000001.tar"]
    flip(settled / "train-000002.tar")
    with pytest.raises(InputError, match=r"train-000002\.tar does not match the SHA-256"):
        ShardReader(settled, "train")


def test_what_was_just_written_or_lies_elsewhere_is_not_remembered(
    settled: Path, hashed: list[str], packed: tuple[Path, list[Item]]
) -> None:
    (settled / "test-000000.tar").touch()
    for _ in range(2):
        ShardReader(settled, "test")
    assert hashed == ["test-000000.tar", "index.parquet"] * 2
    hashed.clear()
    for _ in range(2):
        ShardReader(packed[0], "test")
    assert len(hashed) == 4


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}'])
def test_a_damaged_memory_is_none(settled: Path, hashed: list[str], content: str) -> None:
    memory = settled.parent.parent / "cache/verified.json"
    memory.parent.mkdir()
    memory.write_text(content)
    ShardReader(settled, "test")
    assert len(hashed) == 2 and len(read_json(memory)) == 1
    ShardReader(settled, "test")
    assert len(hashed) == 3 and [p.name for p in memory.parent.iterdir()] == [memory.name]


def test_the_reader(packed: tuple[Path, list[Item]]) -> None:
    folder, found = packed
    for split in SPLITS:
        reader, wanted = ShardReader(folder, split), [i for i in found if i.split == split]
        assert len(reader) == len(wanted) and reader.cluster_size == SIZES
        for n, one in enumerate(wanted):
            assert reader.samples[n] == {
                "sample_id": one.sample_id, "source": "s", "split": split,
                "captions": one.captions, "caption_ids": one.caption_ids,
                "cluster_id": one.cluster_id,
            }  # fmt: skip
            assert reader.image_bytes(n) == Path(one.media).read_bytes()


def test_stock_webdataset_reads_them(packed: tuple[Path, list[Item]]) -> None:
    folder, found = packed
    for split in SPLITS:
        urls = [str(p) for p in sorted(folder.glob(f"{split}-*.tar"))]
        samples = list(webdataset.WebDataset(urls, shardshuffle=False))
        wanted = [i for i in found if i.split == split]
        assert len(samples) == len(wanted)
        for n, (sample, one) in enumerate(zip(samples, wanted, strict=True)):
            text = json.loads(sample["json"])
            assert sample["__key__"] == f"{n:08d}"
            assert text["captions"] == one.captions and text["cluster_id"] == one.cluster_id
            image = sample["jpg"] if "jpg" in sample else sample["png"]
            assert image == Path(one.media).read_bytes()
    decoded = webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8")
    assert all(s["json"]["split"] == "test" for s in decoded)


def test_items_join_captions_with_their_clusters() -> None:
    captions = pd.DataFrame(
        {
            "source": "s", "split": ["val", "train", "val"], "sample_id": ["b", "a", "b"],
            "caption_id": ["1", "2", "3"], "caption": ["x", "y", "z"],
            "media": ["b.png", "a.png", "b.png"],
            "media_bytes": [5, 6, 5], "media_sha256": ["7", "8", "7"],
        }
    )  # fmt: skip
    clusters = pd.DataFrame({"caption_id": ["3", "2", "1"], "cluster_id": np.array([30, 20, 10])})
    assert items(captions, clusters) == [
        Item("s", "val", "b", "b.png", 5, "7", None, None, ["x", "z"], ["1", "3"], [10, 30], {}),
        Item("s", "train", "a", "a.png", 6, "8", None, None, ["y"], ["2"], [20], {}),
    ]
    with pytest.raises(InputError, match="caption 2 has no cluster; run"):
        items(captions, clusters[clusters["caption_id"] != "2"])


def test_sizes_of_the_clusters() -> None:
    clusters = pd.DataFrame(
        {"cluster_id": np.array([3, -1, 3, 0], "i4"), "cluster_size": np.array([2, 0, 2, 9])}
    )
    assert cluster_sizes(clusters) == {3: 2, -1: 0, 0: 9}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "does not match the SHA-256 in manifest.json; run `dvc repro -sf pack`"),
        (lambda p: p.write_bytes(p.read_bytes()[:-512]), "does not match the SHA-256"),
        (lambda p: p.write_bytes(b""), "does not match the SHA-256"),
        (Path.unlink, "is not there; run `dvc repro -sf pack`"),
    ],
)
@pytest.mark.parametrize("name", ["train-000001.tar", "index.parquet"])
def test_what_does_not_match_the_manifest_is_named(
    packed: tuple[Path, list[Item]], damage: Any, message: str, name: str
) -> None:
    folder, _ = packed
    damage(folder / name)
    with pytest.raises(InputError) as caught:
        ShardReader(folder, "train")
    said = str(caught.value)
    cut = name.endswith(".tar") and (folder / name).exists() and message.endswith("SHA-256")
    assert said.startswith(str(folder / name))
    assert ("bytes, not the" if cut else message) in said
    if name != "index.parquet":
        assert len(ShardReader(folder, "val")) == 3  # another split does not mind


def test_two_shards_that_changed_places(packed: tuple[Path, list[Item]]) -> None:
    folder, _ = packed
    shutil.move(folder / "train-000000.tar", folder / "x")
    shutil.move(folder / "train-000001.tar", folder / "train-000000.tar")
    shutil.move(folder / "x", folder / "train-000001.tar")
    with pytest.raises(InputError, match=r"train-000000\.tar (does not match|has .* bytes)"):
        ShardReader(folder, "train")


def test_manifests_that_are_none(packed: tuple[Path, list[Item]]) -> None:
    folder, _ = packed
    manifest = read_json(take_in_hand(folder / "manifest.json"))
    write_json(folder / "manifest.json", {**manifest, "shards": {}})
    with pytest.raises(InputError, match=r"manifest\.json has no shards of split train"):
        ShardReader(folder, "train")
    for odd in ("[]", "3", '{"shards": []}', json.dumps({**manifest, "cluster_size": 3})):
        (folder / "manifest.json").write_text(odd)
        with pytest.raises(InputError, match=r"manifest\.json is of another kind; run `dvc repro"):
            ShardReader(folder, "train")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json is not JSON"):
        ShardReader(folder, "train")
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"manifest\.json is not there"):
        ShardReader(folder, "train")


def pack_one(one: Item, folder: Path, size: int | None = None) -> tuple[bytes, str]:
    folder.mkdir(exist_ok=True)
    write_shards(folder, [one], SIZES, Pack(shard_size=5, image_size=size))
    extension = pd.read_parquet(folder / "index.parquet")["extension"].iloc[0]
    return ShardReader(folder, one.split).image_bytes(0), extension


@pytest.mark.parametrize("ending", ["webp", "bmp"])
def test_other_formats_are_packed_as_jpeg(tmp_path: Path, ending: str) -> None:
    smooth = Image.linear_gradient("L").convert("RGB").resize((40, 32))
    path = tmp_path / f"a.{ending}"
    smooth.save(path, lossless=True)
    data, extension = pack_one(item(str(path)), tmp_path / "out")
    assert extension == "jpg" and Image.open(io.BytesIO(data)).format == "JPEG"
    difference = np.asarray(decode_image(data)).astype(int) - np.asarray(smooth)
    assert abs(difference).max() <= 8


def test_the_ending_is_of_the_content_not_of_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(picture(0, coded="PNG"))
    assert pack_one(item(str(path)), tmp_path / "out") == (picture(0), "png")


def test_transparent_png(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", 0, mode="RGBA", size=(64, 48))
    one = item(str(path))
    assert pack_one(one, tmp_path / "as-it-is") == (path.read_bytes(), "png")
    path.write_bytes(b"")
    clear = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    clear.save(path)
    data, extension = pack_one(item(str(path)), tmp_path / "small", size=16)
    small = Image.open(io.BytesIO(data))
    assert extension == "png" and small.mode == "RGB" and small.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize(("ending", "size"), [("jpg", (64, 48)), ("png", (48, 100))])
def test_image_size_shrinks_the_short_side(
    tmp_path: Path, ending: str, size: tuple[int, int]
) -> None:
    path = write_picture(tmp_path / f"a.{ending}", 0, size=size)
    data, extension = pack_one(item(str(path)), tmp_path / "out", size=24)
    image = decode_image(data)
    assert extension == ending and min(image.size) == 24
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=0.03)
    same, _ = pack_one(item(str(path)), tmp_path / "same", size=48)  # nothing is made larger
    assert same == path.read_bytes()


def test_media_inside_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "media.tar", "w") as tar:
        for n in range(3):
            member = tarfile.TarInfo(f"Images/{n}.png")
            member.size, member.mtime = len(picture(n)), 99
            tar.addfile(member, io.BytesIO(picture(n)))
    one = item(f"{tmp_path}/media.tar::Images/1.png")
    assert (one.media_bytes, one.media_sha256) == MediaFacts.of(picture(1))
    assert pack_one(one, tmp_path / "out") == (picture(1), "png")


def test_media_that_changed_since_the_captions_stage(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", 0)
    one = item(str(path))
    for changed in (
        one._replace(media_bytes=one.media_bytes + 1), one._replace(media_sha256="0" * 64)
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"a\.png.* has changed since the captions stage"):
            pack_one(changed, tmp_path / "out")
    path.unlink()
    with pytest.raises(InputError, match=r"a\.png.*: No such file.*put it back, or run"):
        pack_one(one, tmp_path / "out")


def test_media_that_changed_unseen_and_cannot_be_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("no picture")
    with pytest.raises(InputError, match=r"a\.png.*: not a picture of a known format; mend it"):
        pack_one(item(str(path)), tmp_path / "out")


def test_bars_of_uneven_work_show_no_time_left() -> None:
    """A whole tar or video is done at once, so that the speed so far tells nothing."""
    shown = tqdm.format_meter(30, 100, 65, prefix="pack", bar_format=BAR_OF_UNEVEN_WORK)
    assert shown.startswith("pack:  30%|") and shown.endswith("| 30/100 [01:05]")
