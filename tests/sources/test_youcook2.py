"""YouCook2: three forms of annotations, where videos lie, subtitles, and what is wrong."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmts.captions import build
from mmts.captions_table import read_captions
from mmts.errors import InputError
from mmts.kinds.source.youcook2 import Kind
from mmts.settings.sources import Captions
from mmts.sources import youcook2
from tests.making import write_table
from tests.making_youcook2 import (
    TEST,
    TRAIN,
    name,
    segments,
    write_official,
    write_rows,
    write_vast,
)

TRAIN_ROWS, TEST_ROWS = segments(TRAIN), segments(TEST)
WRITE = {"official": write_official, "rows": write_rows, "vast": write_vast}


def read(raw: Path, **changes: Any) -> pd.DataFrame:
    return youcook2.read(Kind(kind="youcook2", **({"videos": None} | changes)), raw).rows


def refusal(raw: Path, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(raw, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def captions(raw: Path, **changes: Any):  # type: ignore[no-untyped-def]
    source = {"kind": "youcook2"} | changes
    return build(Captions.model_validate({"sources": {"y": source}}), raw, raw, raw / "final")


@pytest.mark.parametrize("form", list(WRITE))
def test_every_form_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    paths = WRITE[form](tmp_path, TRAIN_ROWS, TEST_ROWS)
    found = youcook2.read(Kind(kind="youcook2", videos=None), tmp_path)
    rows, official = found.rows, [*TRAIN_ROWS, *TEST_ROWS]
    assert rows["sample_id"].tolist() == [f"youcook2/{name(row)}" for row in official]
    assert rows["caption"].tolist() == [row[3] for row in official]
    assert rows["start"].tolist() == [row[1] for row in official]
    assert rows["stop"].tolist() == [row[2] for row in official]
    assert rows["split"].tolist() == ["train"] * 12 + ["test"] * 6
    assert ("stream_subtitle" in rows) == (form == "vast") and set(rows["media"]) == {""}
    assert found.may_lack == ("val",) and found.media == "none" and not found.publishable
    assert found.official == {"train": 10_337, "test": 3_491}
    named = [str(path) for path in ([paths] if isinstance(paths, Path) else paths)]
    (tmp_path / "other").mkdir()
    assert read(tmp_path / "other", annotations=named).equals(rows)
    assert list(Kind(kind="youcook2", annotations=named).named()) == [*named, "raw_videos"]


def test_two_forms_must_be_told_apart(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"{tmp_path} has no annotations: youcookii_annotations_trainval.json; or "
        "urlsegmentcaption.txt and train_video_ids.txt; or descs_cap_train.json and "
        "descs_cap_test.json; get them (docs/youcook2.md)"
    )
    write_official(tmp_path, TRAIN_ROWS, TEST_ROWS)
    write_vast(tmp_path, TRAIN_ROWS[:4], TEST_ROWS[:2])
    assert refusal(tmp_path) == (
        f"{tmp_path} has youcookii_annotations_trainval.json; or descs_cap_train.json and "
        "descs_cap_test.json; name those to take in captions.sources.<name>.annotations"
    )
    assert len(read(tmp_path, annotations=["descs_cap_train.json", "descs_cap_test.json"])) == 6


def test_ten_rows_that_name_the_wrong_video(tmp_path: Path) -> None:
    """By their url and times, as they stand in the public file."""
    cc = [
        ("cc", *span, "pizza") for span in ((60, 81), (81, 208), (216, 301), (301, 398), (401, 406))
    ]
    url = "mV3m2svj3XE"
    wrong = [
        (url, *span, "lavender") for span in ((38, 49), (49, 88), (92, 124), (129, 145), (167, 197))
    ]
    own = [(url, *span, "shrimp") for span in ((53, 59), (59, 73), (138, 142))]
    _, ids = write_rows(tmp_path, TRAIN_ROWS, [*cc, *wrong, *own])
    ids.write_text(ids.read_text() + "FHvZgt3ExDI\nyDZvPCG51zw\n")
    rows = read(tmp_path)
    found = rows.assign(video=rows["sample_id"].str.slice(9, 20)).groupby("caption")
    assert found["video"].unique().loc[["pizza", "lavender", "shrimp"]].tolist() == [
        ["FHvZgt3ExDI"], ["yDZvPCG51zw"], [url],
    ]  # fmt: skip
    assert found["split"].unique().loc[["pizza", "lavender", "shrimp"]].tolist() == [
        ["train"], ["train"], ["test"],
    ]  # fmt: skip
    assert found.size().loc[["pizza", "lavender", "shrimp"]].tolist() == [5, 5, 3]
    write_rows(tmp_path, TRAIN_ROWS, [("cc", 60, 82, "another row"), *TEST_ROWS])
    assert "line 13 is 'cc\\t60\\t82\\tanother row', not url, start, " in refusal(tmp_path)


def test_a_segment_with_two_captions_is_one_clip(tmp_path: Path) -> None:
    write_rows(tmp_path, TRAIN_ROWS, [*TEST_ROWS, (TEST[0], 0, 2, "the same, in other words")])
    table = captions(tmp_path, videos=None)
    assert table.summary["rows"]["test"] == 7 and table.summary["media"]["test"] == 6
    ids = table.rows.loc[table.rows["sample_id"] == f"youcook2/{TEST[0]}_0_2", "caption_id"]
    assert ids.tolist() == [f"youcook2/{TEST[0]}_0_2#{n}" for n in (0, 1)]


def test_whole_videos_are_held_out(tmp_path: Path) -> None:
    write_official(tmp_path, TRAIN_ROWS, TEST_ROWS)
    rows = read(tmp_path, val_share=0.5)
    assert rows["split"].value_counts().to_dict() == {"train": 6, "val": 6, "test": 6}
    assert (rows.groupby(rows["sample_id"].str.slice(9, 20))["split"].nunique() == 1).all()
    assert read(tmp_path, val_share=0.5, seed=3)["split"].tolist() != rows["split"].tolist()
    assert read(tmp_path, limit=1)["split"].value_counts().to_dict() == {"train": 3, "test": 3}
    write_vast(tmp_path, TRAIN_ROWS, [*TEST_ROWS, (TRAIN[0], 90, 95, "torn")])
    said = refusal(tmp_path, annotations=["descs_cap_train.json", "descs_cap_test.json"])
    assert f"the video {TRAIN[0]} is of training and of test; take both files anew" in said


# --- videos -----------------------------------------------------------------------------------


def test_videos_as_people_have_them(tmp_path: Path) -> None:
    write_official(tmp_path, TRAIN_ROWS, TEST_ROWS)
    places = [
        f"raw_videos/training/101/{TRAIN[0]}.mp4", f"raw_videos/training/101/{TRAIN[1]}.mkv",
        f"raw_videos/{TRAIN[2]}.webm", f"raw_videos/validation/226/{TEST[0]}.MP4",
        f"raw_videos/{TEST[1]}.mp4.part",
    ]  # fmt: skip
    cut = [f"raw_videos/clips/{name(row)}.mp4" for row in [*TRAIN_ROWS[9:], TEST_ROWS[4]]]
    for place in (*places, *cut, "raw_videos/notes.txt"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"xy")
    table = captions(tmp_path, min_coverage=0.5)
    media = dict(zip(table.rows["sample_id"], table.rows["media"], strict=True))
    for row in TRAIN_ROWS[:9] + TEST_ROWS[:3]:
        place = next(p for p in places if f"/{row[0]}." in p)
        assert media[f"youcook2/{name(row)}"] == str(tmp_path / place)
    of_clips = table.rows[table.rows["media"].str.contains("/clips/")]
    assert of_clips["media"].tolist() == [str(tmp_path / place) for place in cut]
    assert set(of_clips["start"]) == {0.0} and set(of_clips["stop"]) == {math.inf}
    table.rows.to_parquet(tmp_path / "captions.parquet")
    assert read_captions(tmp_path)["stop"].tolist() == table.rows["stop"].tolist()
    gone = [f"youcook2/{name(row)}" for row in (TEST_ROWS[3], TEST_ROWS[5])]
    assert table.dropped["sample_id"].tolist() == gone
    assert set(table.dropped["media"]) == {f"{tmp_path}/raw_videos/{TEST[1]}.mp4"}
    assert table.summary["sources"]["y"]["coverage"] == {
        "train": {"listed": 12, "there": 12}, "test": {"listed": 6, "there": 4},
    }  # fmt: skip
    assert table.summary["sources"]["y"]["official"] == {"train": 10_337, "test": 3_491}
    with pytest.raises(InputError) as caught:
        captions(tmp_path, min_coverage=0.7)
    assert str(caught.value) == (
        "source y test: 4 of 6 listed clips are there (66.6 %), below min_coverage 0.7; the first "
        f"is {gone[0]} (missing, looked for as {tmp_path}/raw_videos/{TEST[1]}.mp4): get the "
        "others, or lower min_coverage"
    )


def test_a_folder_without_any_of_them(tmp_path: Path) -> None:
    write_official(tmp_path, TRAIN_ROWS, TEST_ROWS)
    assert refusal(tmp_path, videos="v") == (
        f"{tmp_path}/v is not there; put the videos there, or set videos: null for annotations only"
    )
    (tmp_path / "v").mkdir()
    assert refusal(tmp_path, videos="v") == (
        f"{tmp_path}/v has no video of the annotations (looked for {TRAIN[0]}.mp4 and "
        f"{TRAIN[0]}_0_2.mp4, other endings too, at any depth); move them there, or set videos"
    )


# --- subtitles --------------------------------------------------------------------------------

SAID = {name(TRAIN_ROWS[1]): " Two eggs, \"שלום\"\n", name(TEST_ROWS[5]): "a\tpan"}  # fmt: skip


def test_subtitles_of_vast(tmp_path: Path) -> None:
    write_vast(tmp_path, TRAIN_ROWS, TEST_ROWS, SAID)
    rows = read(tmp_path)
    wanted = [SAID.get(name(row), "") for row in [*TRAIN_ROWS, *TEST_ROWS]]
    assert rows["stream_subtitle"].tolist() == wanted
    for file in tmp_path.glob("*.json"):
        entries = json.loads(file.read_text())
        file.write_text(json.dumps([{k: e[k] for k in ("video_id", "desc")} for e in entries]))
    assert "stream_subtitle" not in read(tmp_path)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl", "json"])
def test_subtitles_of_a_table(tmp_path: Path, ending: str) -> None:
    write_official(tmp_path, TRAIN_ROWS, TEST_ROWS)
    table = pd.DataFrame({"video_id": list(SAID), "subtitle": list(SAID.values()), "more": 1})
    file = tmp_path / f"said.{ending}"
    if ending in ("csv", "tsv"):
        table.to_csv(file, index=False, sep="," if ending == "csv" else "\t")
    elif ending == "parquet":
        table.to_parquet(file)
    else:
        table.to_json(file, orient="records", lines=ending == "jsonl")
    rows = read(tmp_path, subtitles=[file.name])
    wanted = [SAID.get(name(row), "") for row in [*TRAIN_ROWS, *TEST_ROWS]]
    assert rows["stream_subtitle"].tolist() == wanted


def test_subtitles_of_unknown_clips(tmp_path: Path) -> None:
    write_official(tmp_path, TRAIN_ROWS, TEST_ROWS)
    clip = name(TRAIN_ROWS[0])
    for rows, said in (
        ([(clip, "a"), ("zzzzzzzzzzz_1_2", "b")],
         "row 2: 'zzzzzzzzzzz_1_2' is no clip of the annotations; name the annotations that the "
         "subtitles are of, or leave that clip out"),
        ([(clip, "a"), (clip, "b")], f"row 2: the clip {clip} has another subtitle too"),
    ):  # fmt: skip
        write_table(tmp_path / "s.csv", [{"video_id": c, "subtitle": t} for c, t in rows])
        assert refusal(tmp_path, subtitles=["s.csv"]) == f"{tmp_path}/s.csv {said}"
    write_vast(tmp_path, TRAIN_ROWS, [("zzzzzzzzzzz", 1, 2, "c")], {"zzzzzzzzzzz_1_2": "b"})
    named = ["youcookii_annotations_trainval.json"]
    said = refusal(tmp_path, annotations=named, subtitles=["descs_cap_test.json"])
    assert said.startswith(f"{tmp_path}/descs_cap_test.json entry 0: 'zzzzzzzzzzz_1_2' is no clip")
    write_table(tmp_path / "s.csv", [{"clip": clip, "subtitle": "a"}])
    assert refusal(tmp_path, annotations=named, subtitles=["s.csv"]) == (
        f"{tmp_path}/s.csv has no column 'video_id'; it has 'clip', 'subtitle'"
    )
    assert refusal(tmp_path, annotations=named, subtitles=["t.csv"]).startswith(
        f"{tmp_path}/t.csv is not there; mend captions.sources.<name>.subtitles"
    )


# --- files that are none ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "AttributeError|TypeError"),
        ({"database": {"short": {}}}, "KeyError: 'annotations'"),
        ({"database": {"short": {"annotations": [{"segment": [1, 2], "sentence": "a"}],
                                 "subset": "training"}}}, "'short' is no id of a video"),
        ({"database": {TRAIN[0]: {"annotations": [{"segment": [1, 2], "sentence": 7}],
                                  "subset": "training"}}}, "7 is no text"),
        ({"database": {TRAIN[0]: {"annotations": [{"segment": [1, 2], "sentence": "a"}],
                                  "subset": "testing"}}}, "KeyError: 'testing'"),
    ],
)  # fmt: skip
def test_an_official_file_that_is_none(tmp_path: Path, value: Any, said: str) -> None:
    path = tmp_path / "youcookii_annotations_trainval.json"
    path.write_text(json.dumps(value))
    found = refusal(tmp_path)
    assert found.startswith(f"{path} is not the official file: its `database` should have, ")
    assert re.search(said, found)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"video_id": "x"},
            "entry 0 has no video_id (<id>_<start>_<end>) and texts as VAST's files",
        ),
        ([3], "entry 0 has no video_id"),
        ([{"video_id": f"{TRAIN[0]}_1_2", "desc": "a", "subtitle": 5}], "5 is no text"),
        ([{"video_id": f"{TRAIN[0]}_1", "desc": "a"}], "is no <id>_<start>_<end>"),
        ([{"video_id": f"{TRAIN[0]}_2_1", "desc": "a"}], "goes from 2 s to 1 s; mend it"),
    ],
)
def test_a_file_of_vast_that_is_none(tmp_path: Path, value: Any, said: str) -> None:
    write_vast(tmp_path, TRAIN_ROWS, TEST_ROWS)
    (tmp_path / "descs_cap_train.json").write_text(json.dumps(value))
    assert said in refusal(tmp_path)
