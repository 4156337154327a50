"""Something-Something v2: the official files, where videos lie, and what is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmts.captions import build
from mmts.errors import InputError
from mmts.kinds.source.ssv2 import Kind
from mmts.settings.sources import Captions
from mmts.sources import ssv2
from mmts.video import SegmentReader, cut
from tests.making_ssv2 import LABELS, NAMES, entries, write_ssv2
from tests.making_video import read_number, write_video

CLASSES = (LABELS[0], LABELS[106], "Something falling like a feather or paper")
TRAIN = entries(dict.fromkeys(CLASSES, 4))
TEST = entries(dict.fromkeys(CLASSES, 2), first=100)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_ssv2(tmp_path, TRAIN, TEST)
    return tmp_path


def read(raw: Path, **changes: Any) -> pd.DataFrame:
    return ssv2.read(Kind(kind="ssv2", **({"videos": None} | changes)), raw).rows


def refusal(raw: Path, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(raw, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def captions(raw: Path, **changes: Any):  # type: ignore[no-untyped-def]
    source = {"kind": "ssv2"} | changes
    return build(Captions.model_validate({"sources": {"s": source}}), raw, raw, raw / "final")


def test_official_files(raw: Path) -> None:
    found = ssv2.read(Kind(kind="ssv2", videos=None), raw)
    rows, all_of_them = found.rows, [*TRAIN, *TEST]
    assert rows["sample_id"].tolist() == [f"ssv2/{one['id']}" for one in all_of_them]
    assert rows["caption_id"].tolist() == rows["sample_id"].tolist()
    assert rows["caption"].tolist() == [one["label"] for one in all_of_them]
    assert TRAIN[-1]["template"] == "[Something] falling like a feather or paper"
    assert rows["class_template"].tolist() == [
        label for each in (4, 2) for label in CLASSES for _ in range(each)
    ]
    assert rows["split"].tolist() == ["train"] * 12 + ["test"] * 6
    assert set(rows["start"]) == {0.0} and set(rows["stop"]) == {math.inf}
    assert set(rows["media"]) == {""} and found.media == "none" and not found.publishable
    assert found.may_lack == ("val",) and found.official == {"train": 168_913, "test": 24_777}


def test_a_share_of_the_training_clips_is_held_out(raw: Path) -> None:
    rows = read(raw, val_share=0.25)
    assert rows["split"].value_counts().to_dict() == {"train": 9, "val": 3, "test": 6}
    assert read(raw, val_share=0.25, seed=3)["split"].tolist() != rows["split"].tolist()
    assert read(raw, limit=2)["sample_id"].tolist() == [f"ssv2/{n}" for n in (1, 2, 100, 101)]


def test_three_files_as_of_ssv2_lt(raw: Path) -> None:
    val = entries(dict.fromkeys(CLASSES, 1), first=50)
    (raw / "val.json").write_text(json.dumps(val))
    files = [NAMES["train"], "val.json", NAMES["test"]]
    found = ssv2.read(Kind(kind="ssv2", videos=None, annotations=files), raw)
    assert found.rows["split"].tolist() == ["train"] * 12 + ["val"] * 3 + ["test"] * 6
    assert found.may_lack == () and found.official == {}
    with pytest.raises(ValueError, match=r"val_share is 0\.1 but annotations has a file"):
        Kind(kind="ssv2", annotations=files, val_share=0.1)


def test_videos_are_taken_whole(raw: Path) -> None:
    assert refusal(raw, videos="videos") == (
        f"{raw}/videos is not there; put the videos there, or set videos: null for annotations only"
    )
    (raw / "videos/more").mkdir(parents=True)
    assert refusal(raw, videos="videos") == (
        f"{raw}/videos has no video of the annotations (looked for 1.webm, other endings too, at "
        "any depth); move them there, or set videos"
    )
    places = [raw / f"videos/{one['id']}.webm" for one in [*TRAIN, *TEST[:5]]]
    places[3] = raw / "videos/more/4.mp4"
    for place in places:
        place.write_bytes(b"xy")
    table = captions(raw, min_coverage=0.8)
    assert table.rows["media"].tolist() == [str(place) for place in places]
    assert set(table.rows["start"]) == {0.0} and set(table.rows["stop"]) == {math.inf}
    assert table.dropped["media"].tolist() == [f"{raw}/videos/105.webm"]
    with pytest.raises(InputError) as caught:
        captions(raw)
    assert str(caught.value) == (
        "source s test: 5 of 6 listed clips are there (83.3 %), below min_coverage 1.0; the first "
        f"is ssv2/105 (missing, looked for as {raw}/videos/105.webm): get the others, or lower "
        "min_coverage"
    )


def test_frames_of_a_whole_webm(raw: Path) -> None:
    """All of them: VP9, 12 frames a second, without sound."""
    (raw / "videos").mkdir()
    options = {"deadline": "realtime", "cpu-used": "8"}
    path = raw / "videos/100.webm"
    write_video(path, range(30), rate=12, codec="libvpx-vp9", b_frames=0, options=options)
    (raw / "videos/3.webm").symlink_to(path)
    rows = captions(raw, min_coverage=0.0).rows
    assert rows["sample_id"].tolist() == ["ssv2/3", "ssv2/100"]
    assert rows["media_bytes"].tolist() == [path.stat().st_size] * 2
    [_, (media, start, stop)] = rows[["media", "start", "stop"]].to_numpy().tolist()
    reader = SegmentReader(cut(media, start, stop, short_side=64))
    found = [read_number(frame) for frame in reader.frames(range(len(reader)))]
    assert found == list(range(30))


# --- files that are none ----------------------------------------------------------------------


def test_a_template_that_is_no_label(raw: Path) -> None:
    write_ssv2(raw, TRAIN, TEST, LABELS[:50])
    assert refusal(raw) == (
        f"{raw}/{NAMES['train']} entry 4: the template {LABELS[106]!r} of the clip 5 is no label "
        f"of {raw}/{NAMES['labels']}; take both files of one release"
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (3, "has no id, label and template as the official files have (TypeError: "),
        ({"id": "3", "label": "a"}, "as the official files have (KeyError: 'template'); take the"),
        ({"id": 3, "label": "a", "template": "b"}, "(ValueError: 3 is no text); take the official"),
        ({**TRAIN[0], "id": "../3"}, "entry 0: '../3' is no id of a clip; take the official file"),
    ],
)
def test_a_file_of_annotations_that_is_none(raw: Path, entry: Any, said: str) -> None:
    (raw / NAMES["test"]).write_text(json.dumps([entry]))
    found = refusal(raw)
    assert found.startswith(f"{raw}/{NAMES['test']} entry 0") and said in found


def test_labels_that_are_none(raw: Path) -> None:
    (raw / NAMES["labels"]).write_text("[]")
    assert refusal(raw) == (
        f"{raw}/{NAMES['labels']} is no JSON object of labels and their numbers; take the official "
        "file anew"
    )
    assert refusal(raw, labels="labels.json") == (
        f"{raw}/labels.json is not there; mend captions.sources.<name>.labels"
    )
    write_ssv2(raw, TRAIN, TEST)
    assert refusal(raw, annotations=["a.json", "b.json"]) == (
        f"{raw}/a.json is not there; mend captions.sources.<name>.annotations"
    )


def test_a_clip_in_both_files(raw: Path) -> None:
    write_ssv2(raw, TRAIN, [*TEST, TRAIN[0]])
    with pytest.raises(InputError, match=r"image 'ssv2/1' stands in several splits"):
        captions(raw, videos=None)
    write_ssv2(raw, [*TRAIN, TRAIN[0]], TEST)
    with pytest.raises(InputError, match=r"id 'ssv2/1' stands 2 times"):
        captions(raw, videos=None)
