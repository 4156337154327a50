"""Captions of every kind: kept as they are or dropped by one rule, from table to shard and page."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmts.captions import build
from mmts.captions_table import read_captions
from mmts.errors import InputError
from mmts.settings.sources import Captions
from mmts.shards import ShardReader
from mmts.sources import CAPTION_BYTES
from tests.conftest import CELL, Project
from tests.making import COLOURS, picture, write_picture, write_table
from tests.making_ek100 import write_ek100
from tests.sources.making_img2dataset import write_tar

KEPT = {
    "words": "word " * 10_000, "family": "👩\u200d👩\u200d👧 🇩🇪 1\ufe0f\u20e3",
    "hebrew": "\u202eשלום\u202c \u2067مرحبا\u2069", "nul": "a\0b", "crlf": "a\r\nb", "cr": "a\rb",
    "lf": "\na\n\nb", "lines": "a\u2028b\u2029c\u0085d\x0b",
    "nfc": "caf\u00e9", "nfd": "cafe\u0301", "na": "NA", "nan": "nan", "none": "None",
    "null": "null", "empty": '""', "one": "1", "float": "1e5", "true": "True", "zero": "007",
    "formula": "=1+1", "plus": "+A1", "at": "@SUM(A1)", "quotes": 'he said "hi", ok', "quote": '"',
    "comma": ",", "bom": "\ufeffa", "blanks": "  a  ", "tab": "a\tb", "escape": "a\\n\x1b[31m",
    "page": "</script><b onclick=x>&amp; {{ 7 }}", "astral": "𝔘𝔫𝔦", "strange": "\uffff\U0010ffff",
    "longest": "é" * (CAPTION_BYTES // 2),
}  # fmt: skip
EMPTY = {
    "nothing": "", "spaces": " \t\r\n ", "wide": "\u2003\u3000\xa0", "only-nul": "\0",
    "only-bom": "\ufeff", "only-marks": "\u200b\u200d\u202e\u2066\U000e0041",
}  # fmt: skip
DROPPED = dict.fromkeys(EMPTY, "empty caption") | {"endless": "caption too long"}
ALL = KEPT | EMPTY | {"endless": "é" * (CAPTION_BYTES // 2) + "a"}
SPLIT = dict(zip(ALL, ("train", "val", "test") * 99, strict=False))
ROWS = [{"image": f"{key}.png", "caption": ALL[key], "split": SPLIT[key]} for key in ALL]
TABLE = {"kind": "table", "split_column": "split"}


def write_csv(path: Path, separator: str = ",") -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=separator)
        writer.writeheader(), writer.writerows(ROWS)


def as_csv(raw: Path) -> dict[str, object]:
    write_csv(raw / "pairs.csv")
    return {**TABLE, "path": "pairs.csv"}


def as_tsv(raw: Path) -> dict[str, object]:
    write_csv(raw / "pairs.tsv", "\t")
    return {**TABLE, "path": "pairs.tsv"}


def as_csv_with_a_mark(raw: Path) -> dict[str, object]:
    """As a spreadsheet saves it: a byte order mark, and CR LF after each row."""
    write_csv(raw / "pairs.csv")
    (raw / "pairs.csv").write_bytes(b"\xef\xbb\xbf" + (raw / "pairs.csv").read_bytes())
    return {**TABLE, "path": "pairs.csv"}


def as_parquet(raw: Path) -> dict[str, object]:
    pd.DataFrame(ROWS).to_parquet(raw / "pairs.parquet")
    return {**TABLE, "path": "pairs.parquet"}


def as_json_lines(raw: Path) -> dict[str, object]:
    lines = [json.dumps(row, ensure_ascii=number % 2 == 0) for number, row in enumerate(ROWS)]
    (raw / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="")
    return {**TABLE, "path": "pairs.jsonl"}


def as_karpathy(raw: Path) -> dict[str, object]:
    images = [
        {"filename": r["image"], "split": r["split"], "sentences": [{"raw": r["caption"]}]}
        for r in ROWS
    ]
    (raw / "dataset_flickr30k.json").write_text(json.dumps({"images": images}))
    return {"kind": "flickr30k", "images": ""}


def as_flickr8k(raw: Path) -> dict[str, object]:
    write_csv(raw / "captions.txt")
    for word, split in (("train", "train"), ("dev", "val"), ("test", "test")):
        names = [r["image"] for r in ROWS if r["split"] == split]
        (raw / f"Flickr_8k.{word}Images.txt").write_text("\n".join(names))
    (raw / "Images").symlink_to(raw, target_is_directory=True)
    return {"kind": "flickr8k"}


def as_img2dataset(raw: Path, *, tars: bool = True, records: bool = False) -> dict[str, object]:
    for split in ("train", "val", "test"):
        folder = raw / split / ("" if tars else "00000")
        folder.mkdir(parents=True)
        rows = [row for row in ROWS if row["split"] == split]
        members = {row["image"]: picture(0, size=(8, 8)) for row in rows}
        if not records:
            members |= {f"{r['image'][:-4]}.txt": r["caption"].encode() for r in rows}
        if tars:
            write_tar(folder / "00000.tar", members)
        else:
            for name, data in members.items():
                (folder / name).write_bytes(data)
        if records:
            of = {"key": [row["image"][:-4] for row in rows], "status": "success"}
            pd.DataFrame(of | {"caption": [row["caption"] for row in rows]}).to_parquet(
                folder / "00000.parquet"
            )
    return {"kind": "cc3m", **{split: {"images": split} for split in ("train", "val", "test")}}


def as_img2dataset_files(raw: Path) -> dict[str, object]:
    return as_img2dataset(raw, tars=False)


def as_img2dataset_records(raw: Path) -> dict[str, object]:
    return as_img2dataset(raw, records=True)


SOURCES: list[Callable[[Path], dict[str, object]]] = [
    as_csv, as_csv_with_a_mark, as_tsv, as_parquet, as_json_lines, as_karpathy, as_flickr8k,
    as_img2dataset, as_img2dataset_files, as_img2dataset_records,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*Karpathy's file")
@pytest.mark.parametrize("write", SOURCES, ids=lambda write: write.__name__[3:])
def test_every_source_keeps_and_drops_the_same(
    tmp_path: Path, write: Callable[[Path], dict[str, object]]
) -> None:
    raw = tmp_path / "raw"
    for key in ALL:
        write_picture(raw / f"{key}.png", 0, size=(8, 8))
    settings = Captions.model_validate({"sources": {"a": write(raw)}})
    found = build(settings, raw, tmp_path / "work", tmp_path / "final")

    def key(name: str) -> str:
        return name.rpartition("/")[2].removesuffix(".png")

    kept = {key(r.sample_id): r.caption for r in found.rows.itertuples()}
    assert {name for name in KEPT if kept.get(name) != KEPT[name]} == set()
    dropped = {key(r.sample_id): r.reason for r in found.dropped.itertuples()}
    assert dropped == DROPPED
    assert found.summary["dropped"] == {"caption too long": 1, "empty caption": len(EMPTY)}
    found.rows.to_parquet(tmp_path / "captions.parquet", index=False)
    assert read_captions(tmp_path)["caption"].tolist() == found.rows["caption"].tolist()


@pytest.mark.filterwarnings("ignore:.*clips:UserWarning", "ignore:.*sentences:UserWarning")
def test_of_ek100_too(tmp_path: Path) -> None:
    rows, _ = write_ek100(tmp_path)
    assert len(rows) > len(KEPT) + len(EMPTY)
    path = tmp_path / "EPIC_100_retrieval_train.csv"
    captions = [*KEPT.values(), *EMPTY.values()]
    for n, row in enumerate(rows):
        row["narration"] = captions[n % len(captions)]
    write_table(path, rows)
    settings = Captions.model_validate({"sources": {"a": {"kind": "ek100", "videos": None}}})
    found = build(settings, tmp_path, tmp_path, tmp_path)
    kept = dict(zip(found.rows["sample_id"], found.rows["caption"], strict=True))
    for row in rows:
        said = None if row["narration"] in EMPTY.values() else row["narration"]
        assert kept.get(f"ek100/{row['narration_id']}") == said


# --- what is no text at all ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.jsonl", "captions.txt"])
@pytest.mark.parametrize("data", [b"caf\xe9", "x".encode("utf-16")], ids=["latin-1", "utf-16"])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    start = {".jsonl": b'{"image": "a", "caption": "'}.get(Path(name).suffix, b"image,caption\n")
    (tmp_path / name).write_bytes(start + data)
    source = {"kind": "flickr8k"} if name == "captions.txt" else {"kind": "table", "path": name}
    with pytest.raises(InputError, match=rf"{name} is not UTF-8 \(byte .*save it as UTF-8"):
        build(Captions.model_validate({"sources": {"a": source}}), tmp_path, tmp_path, tmp_path)


def not_utf_8() -> pa.Array:
    """A column of Arrow strings that nobody has checked."""
    ends = pa.py_buffer(b"\0\0\0\0\4\0\0\0")
    return pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(b"caf\xe9")])


@pytest.mark.parametrize("column", ["image", "caption", "split", "kind"])
def test_text_in_parquet_that_is_not_utf_8(tmp_path: Path, column: str) -> None:
    columns = dict.fromkeys(("image", "caption", "split", "kind"), pa.array(["train"]))
    pq.write_table(pa.table(columns | {column: not_utf_8()}), tmp_path / "pairs.parquet")
    source = {**TABLE, "path": "pairs.parquet", "class_columns": ["kind"]}
    with pytest.raises(InputError, match=r"pairs\.parquet is not a Parquet file \(.*UTF8"):
        build(Captions.model_validate({"sources": {"a": source}}), tmp_path, tmp_path, tmp_path)


@pytest.mark.parametrize("bad", [not_utf_8(), pa.array([b"caf\xe9"])], ids=["text", "bytes"])
@pytest.mark.parametrize("column", ["key", "caption", "status"])
def test_records_of_img2dataset_that_are_not_utf_8(
    tmp_path: Path, column: str, bad: pa.Array
) -> None:
    columns = dict.fromkeys(("key", "caption", "status"), pa.array(["success"]))
    pq.write_table(pa.table(columns | {column: bad}), tmp_path / "00000.parquet")
    source = {"kind": "cc3m", "train": {"images": "."}}
    says = r"00000\.parquet is not a whole Parquet file \(.*(UTF8|utf-8)"
    with pytest.raises(InputError, match=says):
        build(Captions.model_validate({"sources": {"a": source}}), tmp_path, tmp_path, tmp_path)


@pytest.mark.parametrize("bad", ["half \ud800", None, 1, ["a"]])
@pytest.mark.parametrize("where", ["caption", "file_name"])
def test_json_that_is_no_text(tmp_path: Path, bad: object, where: str) -> None:
    """Of COCO's own files and of Karpathy's: half a character, or no text."""
    image = {"id": 7, "file_name": bad if where == "file_name" else "a.png"}
    said = {"image_id": 7, "caption": bad if where == "caption" else "x"}
    (tmp_path / "captions_val2017.json").write_text(
        json.dumps({"images": [image], "annotations": [said]})
    )
    source = {"kind": "coco", "captions": "captions_val2017.json", "splits": ["val"]}
    settings = Captions.model_validate({"sources": {"a": source}})
    (tmp_path / "images").mkdir()
    with pytest.raises(
        InputError, match=r"val2017\.json (is not JSON|images\[\] number 0: .* no text)"
    ):
        build(settings, tmp_path, tmp_path, tmp_path)


# --- through all stages --------------------------------------------------------------------------


def test_they_go_through_every_stage_as_they_are(project: Project) -> None:
    """Trained text towers, shards, retrievals and the page; 10,000 words are cut by tokenizers."""
    raw = project.root / "data/raw/tiny"
    captions = list(KEPT.values())
    rows = [
        {"image": f"images/{n:03d}.{'png' if n % 2 else 'jpg'}", "split": split, "caption": text,
         "kind": COLOURS[n % 3]}
        for n in range(32)
        for split in [("train", "val", "test", "test")[n % 4]]
        for text in captions[n % 4 :: 4]
    ]  # fmt: skip
    (raw / "odd.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tiny = "datasets__tiny__"
    text = {"name": "small_transformer", "weights": "random", "frozen": False}
    changes = {
        "captions__sources__pairs__path": "odd.jsonl", "towers__text": text,
        "captions__sources__pairs__split_column": "split", "train__epochs": 1,
        "evaluate__examples": 99,
    }  # fmt: skip
    project.set(
        grid={"datasets": ["tiny"], "methods": ["base"], "seeds": [0]},
        report={"examples": 99},
        **{tiny + key: value for key, value in changes.items()},
    )
    base = (*CELL, "base")
    for stage, *arguments in (
        *((s, "--dataset", "tiny") for s in ("captions", "embed", "cluster", "pack", "shift")),
        ("train", *base), ("evaluate", *base), ("report",),
    ):  # fmt: skip
        ran = project.run(stage, *arguments)
        assert (ran.code, ran.err) == (0, ""), ran
    table = read_captions(Path("data/captions/tiny"))
    assert table["caption"].tolist() == [row["caption"] for row in rows]
    texts = dict(zip(table["caption_id"], table["caption"], strict=True))
    packed = {
        name: caption
        for split in ("train", "val", "test")
        for sample in ShardReader(Path("data/shards/tiny"), split).samples
        for name, caption in zip(sample["caption_ids"], sample["captions"], strict=True)
    }
    assert packed == texts
    found = json.loads(Path("data/evaluate/tiny/base/0/retrievals.json").read_text())
    asked = {of["query"] for of in found if of["direction"] == "t2v"}
    of_test = set(table.loc[table["split"] == "test", "caption"])
    assert asked <= of_test and len(asked) >= 10
    page = Path("results/local/index.html").read_bytes().decode().replace("\r\n", "\n")
    shown = [text for text in asked if text[:499] in html.unescape(page)]
    assert len(shown) >= 8
    assert KEPT["page"] not in page and len(page) < 1_000_000
