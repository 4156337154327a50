"""Captions tables, and the files of EPIC-KITCHENS-100, Flickr8k, CC3M and YouCook2."""

import json
from pathlib import Path

import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from mmts.kinds.source.cc3m import Kind as CC3MSource
from mmts.kinds.source.flickr8k import Kind as Flickr8kSource
from mmts.kinds.source.table import Kind as TableSource
from mmts.kinds.source.youcook2 import Kind as YouCook2Source
from mmts.sources import SourceRows, cc3m, ek100_files, flickr8k, table, youcook2
from tests.fuzz.hostile import DEEP, fewer, odd_json, odd_tree, write
from tests.fuzz.odd_tables import odd_csv, odd_parquet
from tests.fuzz.outcome import Refused, outcome
from tests.making_ek100 import clip, sentences
from tests.making_youcook2 import TEST, TRAIN, segments
from tests.making_youcook2 import name as clip_name

HEADER = ("image", "caption", "kind", "split", "id")
ROWS = [
    (f"{n}.jpg", f"a caption, {n}", "x" if n % 2 else "y", ("train", "val", "test")[n % 3], f"c{n}")
    for n in range(6)
]
SETTINGS = TableSource.model_validate(
    {
        "kind": "table", "path": "t.csv", "class_columns": ["kind"], "split_column": "split",
        "id_column": "id",
    }
)  # fmt: skip
WORDS = ("sample_id", "caption", "media", "caption_id", "split", "class_kind")


def check_rows(found: SourceRows | Refused, words: tuple[str, ...]) -> None:
    if isinstance(found, Refused):
        return
    rows = found.rows
    for name in words:
        values = rows[name].tolist()
        assert all(type(value) is str for value in values), name
        "".join(values).encode()  # it can be written
    if "split" in rows:
        assert rows["split"].isin(["train", "val", "test"]).all()


@given(odd_csv([HEADER, *ROWS]), st.sampled_from(("csv", "CSV")))
def test_csv(folder: Path, data: bytes, ending: str) -> None:
    write(folder / f"t.{ending}", data)
    settings = SETTINGS.model_copy(update={"path": f"t.{ending}"})
    check_rows(outcome(table.read, settings, folder), WORDS)


@given(odd_csv([HEADER, *ROWS], "\t"))
def test_tsv(folder: Path, data: bytes) -> None:
    write(folder / "t.tsv", data)
    settings = SETTINGS.model_copy(update={"path": "t.tsv", "limit": 2})
    check_rows(outcome(table.read, settings, folder), WORDS)


@given(odd_parquet(pd.DataFrame(ROWS, columns=list(HEADER))), st.sampled_from((None, 2)))
def test_parquet(folder: Path, data: bytes, limit: int | None) -> None:
    write(folder / "t.parquet", data)
    settings = SETTINGS.model_copy(update={"path": "t.parquet", "limit": limit})
    check_rows(outcome(table.read, settings, folder), WORDS)


LINES = [dict(zip(HEADER, row, strict=True)) for row in ROWS]


@example(LINES, True, DEEP[0])
@given(odd_tree(LINES), st.booleans(), st.sampled_from(("", "", "", "\ufeff", *DEEP, "\x00", "7")))
def test_json_lines(folder: Path, rows: object, plain: bool, first: str) -> None:
    lines = rows if isinstance(rows, list) else [rows]
    text = "\n".join(json.dumps(line, ensure_ascii=plain) for line in lines)
    write(folder / "t.jsonl", f"{first}{text}".encode("utf-8", "surrogatepass"))
    settings = SETTINGS.model_copy(update={"path": "t.jsonl"})
    check_rows(outcome(table.read, settings, folder), WORDS)


# --- EPIC-KITCHENS-100 -------------------------------------------------------------------------

CLIPS = [clip("P01_01", n, n % 3, (n, 2)) for n in range(4)]


def as_rows(found: list[dict[str, str]]) -> list[list[str]]:
    return [list(found[0]), *(list(row.values()) for row in found)]


def write_csv(path: Path, rows: list[list[str]]) -> Path:
    pd.DataFrame(rows[1:], columns=rows[0]).to_csv(path, index=False)
    return path


@given(odd_csv(as_rows(CLIPS)))
def test_ek100_clips(folder: Path, data: bytes) -> None:
    found = outcome(ek100_files.read_clips, write(folder / "clips.csv", data))
    if not isinstance(found, Refused):
        assert found["narration_id"].is_unique and (found["stop"] > found["start"]).all()
        assert all(type(text) is str for text in found["narration"].tolist())
        assert found["verb_class"].between(0, 96).all()


@given(odd_csv(as_rows(sentences(CLIPS))))
def test_ek100_sentences(folder: Path, data: bytes) -> None:
    write_csv(folder / ek100_files.TEST, as_rows(CLIPS))
    write(folder / ek100_files.SENTENCES, data)
    found = outcome(ek100_files.read_test, folder)
    if not isinstance(found, Refused):
        ids = set(found.clips["narration_id"])
        assert set(found.sentences["narration_id"]) <= ids and len(found.clips) == 4
        assert all(type(text) is str for text in found.sentences["narration"].tolist())


@given(odd_csv([["verb"], ["3"], ["5"]]), odd_csv([["noun", "more"], ["3", "x"], ["5", "y"]]))
def test_ek100_tail_and_training_sentences(folder: Path, verbs: bytes, nouns: bytes) -> None:
    write(folder / ek100_files.TAIL["verb"], verbs)
    write(folder / ek100_files.TAIL["noun"], nouns)
    found = outcome(ek100_files.read_tail, folder)
    if not isinstance(found, Refused):
        assert all(0 <= number < 300 for numbers in found.values() for number in numbers)
    write(folder / ek100_files.TRAIN_SENTENCES, verbs.replace(b"verb", b"narration_id"))
    outcome(ek100_files.read_train_sentences, folder)


# --- Flickr8k, CC3M ----------------------------------------------------------------------------

FLICKR = [("image", "caption"), *((f"{n // 2}.jpg", f"caption {n}") for n in range(8))]


@given(odd_csv(FLICKR), odd_csv([["0.jpg"], ["1.jpg"]]))
def test_flickr8k(folder: Path, captions: bytes, names: bytes) -> None:
    (folder / "flickr/Images").mkdir(parents=True, exist_ok=True)
    write(folder / "flickr/captions.txt", captions)
    for word, data in (("train", names), ("dev", b"2.jpg\n"), ("test", b"3.jpg")):
        write(folder / f"flickr/Flickr_8k.{word}Images.txt", data)
    settings = Flickr8kSource.model_validate({"kind": "flickr8k"})
    found = outcome(flickr8k.read, settings, folder / "flickr")
    check_rows(found, ("sample_id", "caption", "media", "split"))


LISTED = [
    ("caption", "url", "image"),
    *((f"a {n} .", f"http://x/{n}", f"{n}.jpg") for n in range(5)),
]


@given(odd_csv(LISTED, "\t"), st.sampled_from(("column", "{shard:05d}/{row:09d}.jpg", None)))
def test_cc3m(folder: Path, data: bytes, names: str | None) -> None:
    (folder / "cc3m/images").mkdir(parents=True, exist_ok=True)
    write(folder / "cc3m/train.tsv", data)
    part = {"tsv": "train.tsv", "images": names and "images", "names": names or "column"}
    settings = CC3MSource.model_validate({"kind": "cc3m", "train": part})
    found = outcome(cc3m.read, settings, folder / "cc3m")
    check_rows(found, ("sample_id", "caption", "media", "split", "lacks"))


# --- YouCook2 --------------------------------------------------------------------------------

TRAIN_ROWS, TEST_ROWS = segments(TRAIN[:2], 2), segments(TEST[:1], 2)
DATABASE = {
    "database": {
        video: {
            "subset": "training" if video in TRAIN else "validation",
            "annotations": [
                {"segment": [start, stop], "sentence": text}
                for of, start, stop, text in (*TRAIN_ROWS, *TEST_ROWS)
                if of == video
            ],
        }
        for video in (*TRAIN[:2], *TEST[:1])
    }
}
DESCRIBED = [{"video_id": clip_name(row), "desc": row[3], "subtitle": "a"} for row in TRAIN_ROWS]


@fewer(2)
@given(odd_json(DATABASE), odd_json(DESCRIBED))
def test_youcook2(folder: Path, official: bytes, described: bytes) -> None:
    (folder / "youcook2").mkdir(exist_ok=True)
    write(folder / "youcook2/official.json", official)
    write(folder / "youcook2/train.json", described)
    write(folder / "youcook2/test.json", json.dumps(DESCRIBED[:0]).encode())
    for files in (["official.json"], ["train.json", "test.json"]):
        tree = {"kind": "youcook2", "annotations": files, "videos": None}
        for subtitles in ([], ["train.json"]):
            settings = YouCook2Source.model_validate(tree | {"subtitles": subtitles})
            found = outcome(youcook2.read, settings, folder / "youcook2")
            check_rows(found, ("sample_id", "caption", "media", "split"))


@fewer(2)
@given(odd_csv([(f"https://x/watch?v={r[0]}", *map(str, r[1:])) for r in TRAIN_ROWS], "\t"))
def test_youcook2_rows(folder: Path, data: bytes) -> None:
    (folder / "youcook2").mkdir(exist_ok=True)
    write(folder / "youcook2/rows.txt", data)
    write(folder / "youcook2/ids.txt", f"{TRAIN[0]}\n".encode())
    files = ("rows.txt", "ids.txt")
    settings = YouCook2Source(kind="youcook2", annotations=files, videos=None)
    found = outcome(youcook2.read, settings, folder / "youcook2")
    check_rows(found, ("sample_id", "caption", "media", "split"))
