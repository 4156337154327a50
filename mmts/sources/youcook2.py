"""YouCook2 (Zhou et al. 2018): annotations in three forms, videos or clips, and subtitles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mmts.errors import InputError
from mmts.files import read_json, require
from mmts.sources import SourceRows
from mmts.sources.delimited import not_utf_8
from mmts.sources.ek100 import held_out
from mmts.sources.names import is_whole, shown
from mmts.sources.table import first_per_split, read_table, text_column
from mmts.video.parts import videos_below

if TYPE_CHECKING:
    from mmts.kinds.source.youcook2 import Kind

PREFIX = "youcook2/"  # of a clip's name, for ids that no other source has
CREDIT = (
    "YouCook2: L. Zhou, C. Xu, J. Corso (2018), Towards Automatic Learning of Procedures from Web "
    "Instructional Videos."
)
OFFICIAL = {"train": 10_337, "test": 3_491}
"""Clips of the official splits. The 3,492 validation captions are of 3,491: one has two."""
NAMES = (
    ("youcookii_annotations_trainval.json",),
    ("urlsegmentcaption.txt", "train_video_ids.txt"),
    ("descs_cap_train.json", "descs_cap_test.json"),
    ("vast_descs_cap_train.json", "vast_descs_cap_test.json"),
)
"""Files of annotations as people have them: official, its rows as a text, and VAST's."""
SUBSETS = {"training": "train", "validation": "test"}
ID = r"[A-Za-z0-9_-]{11}"
CLIP = re.compile(rf"({ID})_([0-9]+(?:\.[0-9]+)?)_([0-9]+(?:\.[0-9]+)?)")
URL = re.compile(rf"(?:.*[?&/](?:v=)?)?({ID})(?:[?&#].*)?")
MENDED = {
    "cc": ("FHvZgt3ExDI", {(60, 81), (81, 208), (216, 301), (301, 398), (401, 406)}),
    "https://www.youtube.com/watch?v=mV3m2svj3XE": (
        "yDZvPCG51zw", {(38, 49), (49, 88), (92, 124), (129, 145), (167, 197)},
    ),
}  # fmt: skip
"""Rows of urlsegmentcaption.txt that name the wrong video, by url and times, and the right one."""


class Segment(NamedTuple):
    """A caption of a segment of a video, and where it stands in its file; `subtitle` if known."""

    place: int
    video: str
    start: float
    stop: float
    caption: str
    split: str
    subtitle: str | None = None

    @property
    def clip(self) -> str:
        """Its name, as VAST's files have it."""
        return f"{self.video}_{self.start:g}_{self.stop:g}"


def read(settings: Kind, raw: Path) -> SourceRows:
    """A row a caption, training first; official validation is the split `test`."""
    found = read_segments(settings, raw)
    clips = pd.DataFrame(found).assign(clip=[segment.clip for segment in found])
    subtitles = read_subtitles(settings, raw, found)
    train = clips["split"] == "train"
    held = held_out(clips.loc[train, "video"], settings.val_share, settings.seed)
    clips["split"] = clips["split"].mask(train & clips["video"].isin(held), "val")
    clips = first_per_split(clips, settings.limit, item="video")
    clips["media"], whole = "", pd.Series(False, clips.index)
    if settings.videos is not None:
        folder = require(
            raw / settings.videos, "put the videos there, or set videos: null for annotations only"
        )
        clips["media"], whole = find_videos(folder, clips)
    rows = pd.DataFrame(
        {
            "sample_id": PREFIX + clips["clip"],
            "caption": clips["caption"],
            "media": clips["media"],
            "split": clips["split"],
            "start": clips["start"].mask(whole, 0.0),
            "stop": clips["stop"].mask(whole, np.inf),
        }
    )
    if subtitles is not None:
        rows["stream_subtitle"] = [subtitles.get(clip, "") for clip in clips["clip"]]
    return SourceRows(
        rows,
        CREDIT,
        publishable=False,
        media="none" if settings.videos is None else "videos",
        may_lack=("val",) if settings.val_share == 0 else (),
        min_coverage=settings.min_coverage,
        official=OFFICIAL,
    )


def read_segments(settings: Kind, raw: Path) -> list[Segment]:
    """The segments of the files that the settings name or that are there, training first."""
    names = settings.annotations or _there(raw)
    paths = [require(raw / name, "mend captions.sources.<name>.annotations") for name in names]
    if len(paths) == 1:
        found = list(_official(paths[0]))
    elif paths[0].suffix == ".txt":
        found = list(_rows(*paths))
    else:
        found = [*_vast(paths[0], "train"), *_vast(paths[1], "test")]
    for segment in found:
        if not 0 <= segment.start < segment.stop < np.inf:
            raise InputError(
                f"{paths[0]}: the segment {segment.clip} goes from {segment.start:g} s to "
                f"{segment.stop:g} s; mend it, or take the file anew"
            )
    splits = dict[str, str]()
    for segment in found:
        if splits.setdefault(segment.video, segment.split) != segment.split:
            raise InputError(
                f"{paths[-1]}: the video {segment.video} is of training and of test; take both "
                "files anew"
            )
    return sorted(found, key=lambda segment: segment.split == "test")


def _there(raw: Path) -> tuple[str, ...]:
    """The names of the files that are there; InputError for none, or for more than one form."""
    found = [names for names in NAMES if all((raw / name).is_file() for name in names)]
    if len(found) == 1:
        return found[0]
    if found:
        several = "; or ".join(" and ".join(names) for names in found)
        raise InputError(
            f"{raw} has {several}; name those to take in captions.sources.<name>.annotations"
        )
    forms = "; or ".join(" and ".join(names) for names in NAMES[:3])
    raise InputError(f"{raw} has no annotations: {forms}; get them (docs/youcook2.md)")


def _official(path: Path) -> Iterator[Segment]:
    """youcookii_annotations_trainval.json."""
    value = read_json(path, "take it from youcook2.eecs.umich.edu/download", ours=False)
    try:
        for video, about in value["database"].items():
            for place, one in enumerate(about["annotations"]):
                start, stop = map(float, one["segment"])
                yield Segment(
                    place, _id(video), start, stop, _text(one["sentence"]), SUBSETS[about["subset"]]
                )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not the official file: its `database` should have, of each video, subset "
            f"and annotations[] with segment and sentence ({type(error).__name__}: {error}); take "
            "youcookii_annotations_trainval.json from youcook2.eecs.umich.edu/download"
        ) from None


def _rows(path: Path, ids: Path) -> Iterator[Segment]:
    """Url, start, end and caption a line, with tabs, and the ids of the training videos."""
    train = {line.strip() for line in _lines(ids)}
    for number, line in enumerate(_lines(path), 1):
        try:
            url, start, stop, caption = line.split("\t")
            video, spans = MENDED.get(url, ("", set()))
            if (float(start), float(stop)) not in spans:
                known = URL.fullmatch(url)
                video = _id(known[1] if known else url)
            split = "train" if video in train else "test"
            yield Segment(number, video, float(start), float(stop), _text(caption), split)
        except ValueError as error:
            raise InputError(
                f"{path} line {number} is {shown(line)}, not url, start, end and caption with tabs "
                f"between them ({error}); mend that line"
            ) from None


def _vast(path: Path, split: str) -> Iterator[Segment]:
    """A list of video_id, desc and subtitle."""
    for place, one in _objects(path):
        try:
            subtitle = one.get("subtitle")
            yield Segment(
                place, *_clip(one["video_id"]), _text(one["desc"]), split,
                None if subtitle is None else _text(subtitle),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise _not_vast(path, place, error) from None


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries of a JSON list, counted from 0."""
    value = read_json(path, "take VAST's file anew", ours=False)
    for place, one in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(one, dict):
            raise _not_vast(path, place, TypeError(f"it is {shown(one)}"))
        yield place, one


def _not_vast(path: Path, place: int, error: Exception) -> InputError:
    return InputError(
        f"{path} entry {place} has no video_id (<id>_<start>_<end>) and texts as VAST's files have "
        f"({type(error).__name__}: {error}); take the file anew"
    )


def _clip(name: Any) -> tuple[str, float, float]:
    """Video, start and stop of a clip's name; ValueError where it is none."""
    found = CLIP.fullmatch(_text(name))
    if found is None:
        raise ValueError(f"{shown(name)} is no <id>_<start>_<end>")
    return found[1], float(found[2]), float(found[3])


def _id(name: Any) -> str:
    if not re.fullmatch(ID, _text(name)):
        raise ValueError(f"{shown(name)} is no id of a video")
    return str(name)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not is_whole(value):
        raise ValueError(f"{shown(value)} is no text")
    return value


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise not_utf_8(path) from None


def read_subtitles(settings: Kind, raw: Path, found: list[Segment]) -> dict[str, str] | None:
    """The subtitle of each clip that has one, by the clip's name; None where there are none at all.

    Raises:
        InputError: a file names a clip that the annotations lack, or one clip with two subtitles.
    """
    clips = {segment.clip: segment for segment in found}
    given = {s.clip: s.subtitle for s in found if s.subtitle is not None}
    if not settings.subtitles:
        return given or None
    subtitles: dict[str, str] = {}
    for name in settings.subtitles:
        path = raw / name
        for where, clip, text in _subtitles(path):
            if clip not in clips:
                raise InputError(
                    f"{path} {where}: {shown(clip)} is no clip of the annotations; name the "
                    "annotations that the subtitles are of, or leave that clip out"
                )
            if subtitles.setdefault(clip, text) != text:
                raise InputError(f"{path} {where}: the clip {clip} has another subtitle too")
    return subtitles


def _subtitles(path: Path) -> Iterator[tuple[str, str, str]]:
    """Where it stands, the clip and the text, of each subtitle of a file."""
    require(path, "mend captions.sources.<name>.subtitles")
    if path.suffix == ".json":
        for place, one in _objects(path):
            try:
                video, start, stop = _clip(one["video_id"])
                yield f"entry {place}", f"{video}_{start:g}_{stop:g}", _text(one["subtitle"])
            except (KeyError, TypeError, ValueError) as error:
                raise _not_vast(path, place, error) from None
        return
    table = read_table(path)
    for column in ("video_id", "subtitle"):
        if column not in table:
            has = ", ".join(map(shown, table.columns))
            raise InputError(f"{path} has no column {column!r}; it has {has}")
    columns = (text_column(table, column, path) for column in ("video_id", "subtitle"))
    for row, (clip, text) in enumerate(zip(*columns, strict=True), 1):
        yield f"row {row}", clip, text


def find_videos(folder: Path, clips: pd.DataFrame) -> tuple[list[str], pd.Series]:
    """The file of each clip, and whether the clip is the whole file.

    A clip of a video that is not there has the path that the video ought to have.
    """
    files = videos_below(folder)
    named = list(zip(clips["video"], clips["clip"], strict=True))
    if not any(video in files or clip in files for video, clip in named):
        raise InputError(
            f"{folder} has no video of the annotations (looked for {named[0][0]}.mp4 and "
            f"{named[0][1]}.mp4, other endings too, at any depth); move them there, or set videos"
        )
    media = [
        files.get(video) or files.get(clip) or str(folder / f"{video}.mp4") for video, clip in named
    ]
    whole = [video not in files and clip in files for video, clip in named]
    return media, pd.Series(whole, clips.index)
