"""Something-Something v2 (Goyal et al. 2017): labels, captions and whole videos without sound."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from mmts.errors import InputError
from mmts.files import read_json, require
from mmts.sources import SourceRows
from mmts.sources.ek100 import held_out
from mmts.sources.names import is_whole, shown
from mmts.sources.table import first_per_split
from mmts.video.parts import videos_below

if TYPE_CHECKING:
    from mmts.kinds.source.ssv2 import Kind

PREFIX = "ssv2/"  # of a clip's id, for ids that no other source has
CREDIT = (
    "Something-Something v2: R. Goyal et al. (2017), The “something something” video database for "
    "learning and evaluating visual common sense."
)
OFFICIAL = {"train": 168_913, "test": 24_777}
SPLITS = {2: ("train", "test"), 3: ("train", "val", "test")}
"""What the files of annotations are, by their number."""
REMEDY = "take the official file anew"


class Clip(NamedTuple):
    """A row of a file of annotations, and the split that the file is of."""

    id: str
    caption: str
    template: str
    split: str


def read(settings: Kind, raw: Path) -> SourceRows:
    """A row a clip, training first; `class_template` is the template without its brackets."""
    labels = read_labels(raw / settings.labels)
    found = [
        clip
        for name, split in zip(settings.annotations, SPLITS[len(settings.annotations)], strict=True)
        for clip in read_clips(raw / name, split, labels, raw / settings.labels)
    ]
    clips = pd.DataFrame(found, columns=list(Clip._fields))
    train = clips["split"] == "train"
    held = held_out(clips.loc[train, "id"], settings.val_share, settings.seed)
    clips["split"] = clips["split"].mask(train & clips["id"].isin(held), "val")
    clips = first_per_split(clips, settings.limit, item="id")
    media: list[str] = [""] * len(clips)
    if settings.videos is not None:
        folder = require(
            raw / settings.videos, "put the videos there, or set videos: null for annotations only"
        )
        media = find_videos(folder, clips["id"].tolist())
    rows = pd.DataFrame(
        {
            "sample_id": PREFIX + clips["id"],
            "caption_id": PREFIX + clips["id"],
            "caption": clips["caption"],
            "media": media,
            "split": clips["split"],
            "start": 0.0,
            "stop": np.inf,
            "class_template": clips["template"],
        }
    )
    return SourceRows(
        rows,
        CREDIT,
        publishable=False,
        media="none" if settings.videos is None else "videos",
        may_lack=("val",) if "val" not in set(rows["split"]) else (),
        min_coverage=settings.min_coverage,
        official=OFFICIAL if len(settings.annotations) == 2 else {},
    )


def read_labels(path: Path) -> set[str]:
    """The names of the classes."""
    found = read_json(require(path, "mend captions.sources.<name>.labels"), REMEDY, ours=False)
    if not isinstance(found, dict) or not found:
        raise InputError(f"{path} is no JSON object of labels and their numbers; {REMEDY}")
    return set(found)


def read_clips(path: Path, split: str, labels: set[str], named: Path) -> list[Clip]:
    """The clips of a file of annotations; `labels` are those of the file `named`."""
    value = read_json(require(path, "mend captions.sources.<name>.annotations"), REMEDY, ours=False)
    clips: list[Clip] = []
    for place, one in enumerate(value if isinstance(value, list) else [value]):
        try:
            template = _text(one["template"]).replace("[", "").replace("]", "")
            clip = Clip(_text(one["id"]), _text(one["label"]), template, split)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} entry {place} has no id, label and template as the official files have "
                f"({type(error).__name__}: {error}); {REMEDY}"
            ) from None
        if re.fullmatch("[0-9]+", clip.id) is None:
            raise InputError(f"{path} entry {place}: {shown(clip.id)} is no id of a clip; {REMEDY}")
        if template not in labels:
            raise InputError(
                f"{path} entry {place}: the template {shown(template)} of the clip {clip.id} is no "
                f"label of {named}; take both files of one release"
            )
        clips.append(clip)
    return clips


def _text(value: object) -> str:
    if not isinstance(value, str) or not is_whole(value):
        raise ValueError(f"{shown(value)} is no text")
    return value


def find_videos(folder: Path, ids: list[str]) -> list[str]:
    """The file of each clip; of one that is not there, the path that it ought to have."""
    files = videos_below(folder)
    if not any(name in files for name in ids):
        raise InputError(
            f"{folder} has no video of the annotations (looked for {ids[0]}.webm, other endings "
            "too, at any depth); move them there, or set videos"
        )
    return [files.get(name) or str(folder / f"{name}.webm") for name in ids]
