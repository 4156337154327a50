"""Made-up annotation files in the three forms that YouCook2 has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

TRAIN = ("aaaaaaaaaa0", "aaaa-aaaa_1", "aaaaaaaaaa2", "aaaaaaaaaa3")
TEST = ("_bbbbbbbbb0", "bbbbbbbbbb1")
Row = tuple[str, float, float, str]


def segments(videos: Iterable[str], each: int = 3, seconds: int = 2) -> list[Row]:
    """Video, start, stop and caption of some clips of each video."""
    return [
        (video, seconds * n, seconds * n + seconds, f"step {n} of {video}")
        for video in videos
        for n in range(each)
    ]


def name(row: Row) -> str:
    """The name of a clip, as VAST's files have it."""
    return f"{row[0]}_{row[1]:g}_{row[2]:g}"


def write_official(raw: Path, train: Sequence[Row], test: Sequence[Row]) -> Path:
    """youcookii_annotations_trainval.json."""
    database: dict[str, dict[str, object]] = {}
    for subset, rows in (("training", train), ("validation", test)):
        for video, start, stop, caption in rows:
            about = database.setdefault(video, {
                "duration": 99.5, "subset": subset, "recipe_type": "101", "annotations": [],
                "video_url": f"https://www.youtube.com/watch?v={video}",
            })  # fmt: skip
            found = about["annotations"]
            assert isinstance(found, list)
            found.append({"id": len(found), "segment": [start, stop], "sentence": caption})
    path = raw / "youcookii_annotations_trainval.json"
    path.write_text(json.dumps({"database": database}))
    return path


def write_rows(raw: Path, train: Sequence[Row], test: Sequence[Row]) -> tuple[Path, Path]:
    """urlsegmentcaption.txt and train_video_ids.txt; a video that is a url stays one."""
    lines = [
        f"{video if len(video) != 11 else f'https://www.youtube.com/watch?v={video}'}"
        f"\t{start:g}\t{stop:g}\t{caption}\n"
        for video, start, stop, caption in [*train, *test]
    ]
    paths = raw / "urlsegmentcaption.txt", raw / "train_video_ids.txt"
    paths[0].write_text("".join(lines))
    paths[1].write_text("".join(f"{video}\n" for video in dict.fromkeys(row[0] for row in train)))
    return paths


def write_vast(
    raw: Path, train: Sequence[Row], test: Sequence[Row], subtitles: dict[str, str] | None = None
) -> tuple[Path, Path]:
    """VAST's two files, with a subtitle of each clip: the given one, or none."""
    paths = raw / "descs_cap_train.json", raw / "descs_cap_test.json"
    known = subtitles or {}
    for path, rows in zip(paths, (train, test), strict=True):
        said = [
            {
                "video_id": name(row),
                "desc": row[3],
                "subtitle": known.get(name(row), ""),
            }
            for row in rows
        ]
        path.write_text(json.dumps(said))
    return paths
