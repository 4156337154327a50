"""Named streams beside the pictures or clips: from the captions table to the readers."""

from __future__ import annotations

import json
import os
import pickle
import re
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import webdataset

from mmts.captions_table import read_captions
from mmts.errors import InputError, KindFault
from mmts.files import read_json, write_json
from mmts.kinds.stream import STREAMS as REGISTRY
from mmts.kinds.stream import Origin, loaded
from mmts.registry import Registry
from mmts.sealed import sha256_file
from mmts.settings.prepared import Pack
from mmts.shards import Item, ShardReader, items, write_clips, write_shards
from mmts.shards.items import members, try_streams
from mmts.shards.stream import ShardStream
from mmts.shards.streamed import StreamedReader
from tests.making import write_table
from tests.making_clips import clip, write_videos
from tests.making_streams import STREAMS, Numbers, with_readings
from tests.test_captions import made, raw, refusal, settings  # noqa: F401  a fixture
from tests.test_config import told
from tests.test_shards import SIZES, found_items

SPLITS = ("train", "val", "test")


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, list[Item]]:
    found = with_readings(found_items(tmp_path / "pictures"))
    (tmp_path / "out").mkdir()
    write_shards(tmp_path / "out", found, SIZES, Pack(shard_size=5), STREAMS)
    return tmp_path / "out", found


# --- the captions table ------------------------------------------------------------------------


def with_column(raw: Path, values: list[Any], name: str = "readings") -> Path:  # noqa: F811
    """The tiny pairs as JSON Lines, with a value a row."""
    rows = pd.read_csv(raw / "pairs.csv").to_dict("records")
    values = [values[n % len(values)] for n in range(len(rows))] if len(values) < 9 else values
    lines = [
        json.dumps({**row, name: value} if value is not ... else row)
        for row, value in zip(rows, values, strict=True)
    ]
    (raw / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return raw


def of_images(raw: Path, of: Any) -> list[Any]:  # noqa: F811
    """A value a row, of the number of its image."""
    images = pd.factorize(pd.read_csv(raw / "pairs.csv")["image"])[0]
    return [of(int(n)) for n in images]


@pytest.mark.parametrize(
    "of",
    [
        lambda n: n,
        lambda n: n / 7,
        lambda n: f"subtitle {n} שלום\n\"'",
        lambda n: [n, 0.1, -1e300],
        lambda n: [[n, 1], [2]],
        lambda n: {"n": [n, None, True]},
        lambda n: [n] if n % 2 else "mixed",
        lambda n: "",
    ],
)
def test_values_come_through_as_they_are(raw: Path, of: Any) -> None:  # noqa: F811
    values = of_images(raw, of)
    with_column(raw, values)
    rows = made(raw, settings("pairs.jsonl", stream_columns=["readings"])).rows
    assert [json.loads(text) for text in rows["stream_readings"]] == values
    rows.to_parquet(raw / "captions.parquet")
    read = read_captions(raw)
    clusters = pd.DataFrame({"caption_id": read["caption_id"], "cluster_id": 0})
    found = {i.sample_id: i.columns for i in items(read, clusters, ["readings"])}
    assert found == {
        name: {"readings": value} for name, value in zip(rows["sample_id"], values, strict=True)
    }


def test_lists_of_a_parquet_table_and_texts_of_a_csv(raw: Path) -> None:  # noqa: F811
    values = of_images(raw, lambda n: [float(n), 0.5])
    table = pd.read_csv(raw / "pairs.csv").assign(readings=values, whole=of_images(raw, int))
    table.to_parquet(raw / "pairs.parquet")
    columns = ["readings", "whole"]
    rows = made(raw, settings("pairs.parquet", stream_columns=columns)).rows
    assert [json.loads(text) for text in rows["stream_readings"]] == values
    assert rows["stream_whole"].tolist() == [str(n) for n in of_images(raw, int)]
    table["readings"] = [" ".join(map(str, value)) for value in values]
    write_table(raw / "texts.csv", table.to_dict("records"))  # type: ignore[arg-type]
    rows = made(raw, settings("texts.csv", stream_columns=columns)).rows
    assert json.loads(rows["stream_readings"][0]) == "0.0 0.5"


@pytest.mark.parametrize("bad", [None, ..., float("nan"), float("inf"), [1, float("nan")]])
def test_a_value_that_is_missing_or_no_json(raw: Path, bad: Any) -> None:  # noqa: F811
    values = [1] * len(pd.read_csv(raw / "pairs.csv"))
    values[2] = bad
    with_column(raw, values)
    said = refusal(raw, settings("pairs.jsonl", stream_columns=["readings"]))
    assert re.match(r"source pairs row 3: readings of 'images/\S+' is .*; a stream needs", said)


def test_captions_of_an_item_must_agree(raw: Path) -> None:  # noqa: F811
    values = of_images(raw, lambda n: [n])
    values[1] = [7, "x" * 300]
    with_column(raw, values)
    said = refusal(raw, settings("pairs.jsonl", stream_columns=["readings"]))
    assert said.startswith("source pairs row 2: readings of 'images/000.jpg' is [7, \"xxx")
    assert said.endswith("x, but [0] in row 1; give all rows of an item one value")


def test_a_column_that_the_source_lacks(raw: Path) -> None:  # noqa: F811
    said = refusal(raw, settings(stream_columns=["readings"]))
    assert said.startswith(f"{raw}/pairs.csv has no column 'readings'; it has 'image', ")
    rows = made(raw, settings(stream_columns=["kind"])).rows
    clusters = pd.DataFrame({"caption_id": rows["caption_id"], "cluster_id": 0})
    with pytest.raises(
        InputError, match=r"^a stream is made of column 'x', but .* give kind; name"
    ):
        items(rows, clusters, ["x"])


def test_identical_pictures_with_other_values_stay_apart(raw: Path) -> None:  # noqa: F811
    """They are told apart by the stream; those with one value are joined as ever."""
    for number in (1, 2, 3):
        (raw / f"images/00{number}.png").write_bytes((raw / "images/000.jpg").read_bytes())
    table = pd.read_csv(raw / "pairs.csv")
    first = table["image"].drop_duplicates().tolist()[:4]
    for name in first:
        (raw / name).write_bytes((raw / first[0]).read_bytes())
    with_column(raw, of_images(raw, lambda n: n // 2))
    rows = made(raw, settings("pairs.jsonl", stream_columns=["readings"])).rows
    same = rows[rows["media_sha256"] == sha256_file(raw / first[0])]
    assert set(same["sample_id"]) == {first[0], first[2]}
    assert same["split"].nunique() == 1


def test_a_second_source_must_have_the_column_too(raw: Path) -> None:  # noqa: F811
    with_column(raw, [1])
    chosen = settings("pairs.jsonl", stream_columns=["readings"])
    table = pd.read_csv(raw / "pairs.csv")[["image", "caption"]]
    table["image"] = [str(raw / name) for name in table["image"]]
    write_table(raw / "others.csv", table.to_dict("records"))  # type: ignore[arg-type]
    two = chosen.sources | {"others": settings("others.csv").sources["pairs"]}
    said = refusal(raw, chosen.model_copy(update={"sources": two}))
    assert "source others has no stream_readings, others have" in said


# --- shards ------------------------------------------------------------------------------------


def test_members_index_and_manifest(packed: tuple[Path, list[Item]]) -> None:
    folder, found = packed
    assert read_json(folder / "manifest.json")["streams"] == {"readings": "u8", "times": "txt"}
    index = pd.read_parquet(folder / "index.parquet")
    for row, item in zip(index.to_dict("records"), found, strict=True):
        with tarfile.open(folder / row["shard"]) as tar:
            names = [n for n in tar.getnames() if n.startswith(row["key"])]
            endings = (row["extension"], "readings.u8", "times.txt", "json")
            assert names == [f"{row['key']}.{ending}" for ending in endings]
            data = tar.extractfile(f"{row['key']}.readings.u8").read()  # type: ignore[union-attr]
        assert data == bytes(item.columns["readings"])
        at = row["stream_readings_offset"]
        assert (folder / row["shard"]).read_bytes()[at : at + 3] == data
        assert row["stream_readings_bytes"] == 3
    assert not any("readings" in sample for sample in ShardReader(folder, "train").samples)


def test_without_streams_nothing_tells_of_them(tmp_path: Path) -> None:
    found = found_items(tmp_path / "pictures")
    for name, streams in (("a", None), ("b", {})):
        (tmp_path / name).mkdir()
        write_shards(tmp_path / name, found, SIZES, Pack(shard_size=5), streams)
    assert "streams" not in read_json(tmp_path / "a/manifest.json")
    assert not [n for n in pq.read_schema(tmp_path / "a/index.parquet").names if "stream" in n]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_every_split_reads_what_was_packed(packed: tuple[Path, list[Item]]) -> None:
    folder, found = packed
    for split in SPLITS:
        reader = ShardReader(folder, split)
        assert reader.streams == {"readings": "u8", "times": "txt"}
        part = reader.some(np.array([1, 0]))
        again = pickle.loads(pickle.dumps(part))
        own = [item for item in found if item.split == split]
        for number, item in enumerate(own):
            assert reader.member(number, "readings") == bytes(item.columns["readings"])
            said = f"{item.media} None None of 1".encode()
            assert reader.member(number, "times") == said
            assert reader.image_bytes(number) == Path(item.media).read_bytes()
        for one in (part, again):
            assert one.member(0, "readings") == bytes(own[1].columns["readings"])


def test_stock_webdataset_reads_them(packed: tuple[Path, list[Item]]) -> None:
    folder, found = packed
    samples = webdataset.WebDataset(str(folder / "train-000000.tar"), shardshuffle=False)
    assert [sample["readings.u8"] for sample in samples] == [
        bytes(item.columns["readings"]) for item in found[:5]
    ]


def test_a_damaged_member_is_named(packed: tuple[Path, list[Item]]) -> None:
    folder, _ = packed
    reader = ShardReader(folder, "train")
    row = pd.read_parquet(folder / "index.parquet").iloc[3]
    with open(folder / row["shard"], "r+b") as file:
        file.seek(row["stream_readings_offset"])
        file.write(b"\xff")
    reader.image_bytes(3), reader.member(2, "readings")
    wanted = f"{folder / row['shard']} is damaged in its readings 3; run `dvc repro -sf pack`"
    with pytest.raises(InputError, match=f"^{re.escape(wanted)}$"):
        reader.member(3, "readings")
    os.truncate(folder / row["shard"], row["stream_readings_offset"])
    with pytest.raises(InputError, match="ends before its readings 3; run"):
        reader.member(3, "readings")


def rewrite(folder: Path, table: pa.Table) -> None:
    """Another index, which the manifest vouches for."""
    pq.write_table(table, folder / "index.parquet")
    manifest = read_json(folder / "manifest.json")
    manifest["index_sha256"] = sha256_file(folder / "index.parquet")
    write_json(folder / "manifest.json", manifest)
    (folder / "SHA256SUMS").unlink()


@pytest.mark.parametrize("column", ["offset", "bytes", "crc32"])
def test_an_index_that_lacks_a_place(packed: tuple[Path, list[Item]], column: str) -> None:
    folder, _ = packed
    table = pq.read_table(folder / "index.parquet")
    rewrite(folder, table.drop_columns(f"stream_times_{column}"))
    with pytest.raises(InputError, match=f"stream_times_{column} is not there or not of int64"):
        ShardReader(folder, "train")


@pytest.mark.parametrize(("column", "value"), [("offset", -1), ("offset", 1 << 40), ("bytes", -1)])
def test_a_place_outside_of_its_shard(
    packed: tuple[Path, list[Item]], column: str, value: int
) -> None:
    folder, _ = packed
    table = pq.read_table(folder / "index.parquet")
    name = f"stream_times_{column}"
    at = table.column_names.index(name)
    rewrite(folder, table.set_column(at, name, pa.array([value] * len(table))))
    with pytest.raises(InputError, match=r"index\.parquet names places outside of shards"):
        ShardReader(folder, "train")


@pytest.mark.parametrize(
    "streams",
    [["readings"], {"readings": 7}, {"../x": "u8"}, {"A": "u8"}, {"a": "../x"}, {"": "u"}],
)
def test_a_manifest_whose_streams_are_none(packed: tuple[Path, list[Item]], streams: Any) -> None:
    folder, _ = packed
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", {**manifest, "streams": streams})
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match=r"^\S+manifest\.json has a shard, a tar or a number"):
        ShardReader(folder, "train")


@pytest.mark.parametrize("workers", [0, 2])
def test_clips_have_them_too(tmp_path: Path, workers: int) -> None:
    """A kind that cuts its members from the video sees all clips of it at once."""
    a, b = write_videos(tmp_path / "videos", 2)
    lost = tmp_path / "videos/none.mp4"
    found = with_readings([
        clip(a, 0, 2, 3), clip(b, 0, 0, 1), clip(lost, 0, 0, 1), clip(a, 1, 0, 1.5),
        clip(a, 2, 9, 10), clip(b, 1, 1, 2, "val"), clip(a, 3, 3, 4, "test"),
    ])  # fmt: skip
    settings = Pack(shard_size=2, image_size=64, max_bad_share=0.5, workers=workers)
    out = {}
    for name in ("plain", "first", "second"):
        out[name] = tmp_path / name
        out[name].mkdir()
        streams = {} if name == "plain" else STREAMS
        kept = tmp_path / ("kept" if streams else "kept-plain")
        write_clips(out[name], found, SIZES, settings, kept, streams)
    there = {i.sample_id: i for i in found if i.media != str(lost) and i.sample_id != "v0_2"}
    for split in SPLITS:
        plain, reader, kept = (ShardReader(out[n], split) for n in ("plain", "first", "second"))
        for number, sample in enumerate(reader.samples):
            item = there.pop(sample["sample_id"])
            of = 3 if item.media == str(a) else 2
            said = f"{item.media} {item.start} {item.stop} of {of}".encode()
            for one in (reader, kept):
                assert one.member(number, "times") == said
                assert one.member(number, "readings") == bytes(item.columns["readings"])
                assert one.segment(number).jpeg(0) == plain.segment(number).jpeg(0)
    assert not there
    for path in out["first"].iterdir():  # the second call found the videos cut
        assert path.read_bytes() == (out["second"] / path.name).read_bytes()


def test_other_values_cut_a_video_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (a,) = write_videos(tmp_path / "videos", 1)
    found = with_readings([clip(a, 0, 0, 1), clip(a, 1, 1, 2, "val"), clip(a, 2, 2, 3, "test")])
    settings = Pack(shard_size=2, image_size=64)
    again = [item._replace(columns={"readings": [9]}) for item in found]
    runs = (("a", found, False), ("b", found, True), ("c", again, False), ("d", again, True))
    for name, some, earlier in runs:
        (tmp_path / name).mkdir()
        write_clips(tmp_path / name, some, SIZES, settings, tmp_path / "kept", STREAMS)
        assert ("1 of 1 videos were cut by an earlier run" in capsys.readouterr().out) is earlier
    assert ShardReader(tmp_path / "d", "train").member(0, "readings") == b"\x09"


# --- shards behind a URL -----------------------------------------------------------------------


def test_streamed_samples_carry_the_named_members_alone(packed: tuple[Path, list[Item]]) -> None:
    folder, found = packed
    train = [item for item in found if item.split == "train"]
    for names in ({}, {"readings": "u8"}, {"readings": "u8", "times": "txt"}, {"times": "pickle"}):
        stream = ShardStream(str(folder), "train", seed=0, buffer=0, streams=names)
        for sample in stream:
            item = next(i for i in train if i.sample_id == sample.said["sample_id"])
            assert sample.members["image"] == Path(item.media).read_bytes()
            wanted = {n for n in names if names[n] != "pickle"}
            assert set(sample.members) == {"image", *wanted}
            if "readings" in names:
                assert sample.members["readings"] == bytes(item.columns["readings"])


def test_a_streamed_reader_gives_what_it_holds(packed: tuple[Path, list[Item]]) -> None:
    folder, found = packed
    reader = StreamedReader(folder, "train")
    stream = ShardStream(
        str(folder), "train", seed=0, buffer=0, shards=reader.shards, streams=reader.streams
    )
    samples = list(stream)[:4]
    by_id = {item.sample_id: item for item in found}
    for number, sample in zip(reader.hold(samples), samples, strict=True):
        item = by_id[sample.said["sample_id"]]
        assert reader.member(number, "readings") == bytes(item.columns["readings"])
        assert reader.image_bytes(number) == Path(item.media).read_bytes()
    assert reader.asked == samples[-1]
    (number,) = reader.hold([samples[0]._replace(members={"image": b""})])
    with pytest.raises(InputError, match=r"^it has no readings\.u8$"):
        reader.member(number, "readings")
    assert reader.asked is not None


# --- kinds -------------------------------------------------------------------------------------


def test_a_value_that_cannot_be_packed_names_its_item(tmp_path: Path) -> None:
    found = with_readings(found_items(tmp_path / "pictures"))
    found[3] = found[3]._replace(columns={"readings": [256]})
    name = re.escape(found[3].sample_id)
    (tmp_path / "out").mkdir()
    with pytest.raises(
        InputError,
        match=f"^{name} of source s: stream readings cannot be packed of its readings .*; mend it$",
    ):
        write_shards(tmp_path / "out", found, SIZES, Pack(shard_size=5), STREAMS)


class Required(Numbers):
    """Its `length` has no default, so that `pack`, which does not get it, could not be planned."""

    length: int
    not_packed: ClassVar[frozenset[str]] = frozenset({"length"})


def test_settings_that_are_not_packed_have_a_default() -> None:
    with pytest.raises(ValueError, match="not_packed names length; name settings with a default"):
        Required(length=3)


class Odd(Numbers):
    """Gives what it is told to."""

    given: tuple[Any, ...] = ()

    def members(self, _: Any) -> Any:
        return iter(self.given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "gave 0 members for 2 items of m.png; let it give one each"),
        ((b"a",), "gave 1 members for 2 items"),
        ((b"a", b"b", b"c"), "gave 3 members for 2 items"),
        ((b"a", "b"), "packs str; let it give bytes"),
    ],
)
def test_a_kind_must_give_one_member_an_item(given: Any, message: str) -> None:
    item = Item("s", "train", "m", "m.png", 1, "", None, None, [], [], [], {}, {"readings": 1})
    with pytest.raises(InputError, match=f"^stream x: its kind numbers {message}"):
        list(members("x", Odd(given=given), [item, item]))


def test_arrays_of_two_shapes_are_refused() -> None:
    nothing = [None, None]
    found = loaded("x", Numbers(), [b"ab", b"cd"], nothing)
    assert found.tolist() == [[97, 98], [99, 100]] and found.dtype == np.uint8
    with pytest.raises(
        InputError, match=r"^stream x: numbers loads uint8 \[2\] of one item and uint8 \[3\] of an"
    ):
        loaded("x", Numbers(), [b"ab", b"cde"], nothing)
    with pytest.raises(InputError, match=r"cannot load a member of 0 bytes \(it is empty\); mend"):
        loaded("x", Numbers(), [b"ab", b""], nothing)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("f2", "float32"), ("f8", "float32"), (">f4", "float32"), ("g", "float32"),
        ("i1", "int64"), ("u2", "int64"), (">i4", "int64"), ("i8", "int64"), ("u4", "int64"),
        ("u1", "uint8"), ("?", "bool"),
    ],
)  # fmt: skip
def test_arrays_come_in_types_that_models_take(given: str, taken: str) -> None:
    class Typed(Numbers):
        def load(self, data: bytes, rng: Any) -> Any:
            return np.frombuffer(data, np.uint8).astype(given)

    found = loaded("x", Typed(), [b"\0\1", b"\1\0"], [None, None])
    assert found.dtype == np.dtype(taken) and found.tolist() == [[0, 1], [1, 0]]
    assert torch.from_numpy(found).tolist() == [[0, 1], [1, 0]]


class Encoded(Numbers):
    """Numbers with an encoder; an array and features as the test wants them."""

    array: Any
    features: Any
    dim: int = 5

    def load(self, data: bytes, rng: Any) -> Any:
        return np.array(self.array)

    def encoder(self) -> Any:
        features = self.features

        class Encoder(torch.nn.Module):
            dim = self.dim

            def forward(self, arrays: torch.Tensor) -> Any:
                return features(arrays)

        return Encoder()


LINEAR = torch.nn.Linear(2, 5)


@pytest.mark.parametrize(
    ("array", "features", "message"),
    [
        ([], LINEAR, "stream x: numbers loads an array of no numbers; its `load` must give num"),
        (["a"], LINEAR, "stream x: numbers loads an array of <U1; its `load` must give numbers"),
        ([1j], LINEAR, "stream x: numbers loads an array of complex128; its `load` must give"),
        ([[1], [1, 2]], LINEAR, "stream x: numbers cannot load a member of 2 bytes (setting an"),
        ([1.0], LINEAR, "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x1 and 2x5)"),
        ([1, 2], LINEAR, "RuntimeError: "),
        (
            [1.0, 2.0], torch.nn.Linear(2, 6),
            "stream x: its encoder gives features of shape [2, 6] for 2 items, but its `dim` is "
            "5; let it give [2, 5]",
        ),
        ([1.0, 2.0], lambda arrays: LINEAR(arrays)[0], "stream x: its encoder gives features of "),
        ([1.0, 2.0], lambda arrays: (arrays, None), "AttributeError: 'tuple' object has no att"),
    ],
)  # fmt: skip
def test_a_stream_is_tried_before_packing(array: Any, features: Any, message: str) -> None:
    item = Item("s", "train", "m", "m.png", 1, "", None, None, [], [], [], {}, {"readings": [1, 2]})
    try_streams(item, {"x": Encoded(array=[1.0, 2.0], features=LINEAR)})
    with pytest.raises(KindFault) as told:
        try_streams(item, {"x": Encoded(array=array, features=features)})
    assert re.match(rf"tests/test_streams\.py( line \d+)?: {re.escape(message)}", str(told.value))


def test_one_without_a_column_is_not_tried() -> None:
    item = Item("s", "train", "m", "m.png", 1, "", None, None, [], [], [], {}, {})
    try_streams(item, {"times": STREAMS["times"]})


def test_a_kind_without_media_or_column_is_a_mistake() -> None:
    class Bad(Numbers):
        kind: str = "bad"
        extension = "../x"

    with pytest.raises(ValueError, match=r"the extension of bad is '\.\./x'; use lower-case"):
        Bad()
    assert list(Numbers().members([Origin([1, 2], "m.png")])) == [b"\x01\x02"]


# --- params.yaml -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("image", "streams names one image, as the pictures, the clips or their features are"),
        ("frames", "streams names one frames, as"),
        ("features", "streams names one features, as"),
        ("Sound", "datasets.tiny.streams.Sound"),
        ("a.b", "datasets.tiny.streams.a.b"),
        ("", "datasets.tiny.streams."),
    ],
)
def test_names_that_clash_or_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    known(monkeypatch)
    (line,) = told(tmp_path, {"datasets.tiny.streams": {name: {"kind": "numbers"}}})
    assert message in line


def test_streams_cannot_be_beside_pictures_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch)
    streams = {"readings": {"kind": "numbers"}}
    (line,) = told(
        tmp_path, {"datasets.tiny.streams": streams, "datasets.tiny.pack": {"in_place": True}}
    )
    assert line == (
        "datasets.tiny: streams is set (readings) but pack.in_place is true, and a tar in place "
        "has no such members; set pack.in_place to false"
    )


def test_kinds_that_there_are_not(tmp_path: Path) -> None:
    for kind in ("numbers", {"kind": "numbers"}, {"column": "x"}):
        (line,) = told(tmp_path, {"datasets.tiny.streams": {"x": kind}})
        assert line.startswith("datasets.tiny.streams.x"), line


def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `numbers` among the kinds of streams, as a file of theirs would."""
    monkeypatch.setattr(REGISTRY, "load", lambda kind: {"numbers": Numbers}[kind])
    monkeypatch.setattr(
        Registry, "kinds", property(lambda self: ["numbers"] if self is REGISTRY else KINDS(self))
    )


KINDS = Registry.kinds.fget  # type: ignore[attr-defined]
