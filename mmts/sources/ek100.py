"""EPIC-KITCHENS-100 retrieval (Damen et al. 2022): the official files and a folder of videos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmts.errors import InputError
from mmts.files import require
from mmts.sources import SourceRows
from mmts.sources.ek100_files import (
    TEST,
    read_tail,
    read_test,
    read_train,
    read_train_sentences,
)
from mmts.sources.table import first_per_split

if TYPE_CHECKING:
    from mmts.kinds.source.ek100 import Kind

PREFIX = "ek100/"  # of a narration_id, for ids that no other source has
CREDIT = (
    "EPIC-KITCHENS-100: D. Damen et al. (2022), Rescaling Egocentric Vision. Videos and "
    "annotations CC BY-NC 4.0."
)
LAYOUTS = {
    "flat": ("{video}.MP4",),
    "participant": ("{participant}/{video}.MP4", "{participant}/videos/{video}.MP4"),
    "chunks": ("{participant}/{video}.MP4/",),
}


def read(settings: Kind, raw: Path) -> SourceRows:
    """A row a clip: those of the train file (split train or val), then those of the test file.

    Beside the columns of every source there are class_verb, class_noun and class_verb_noun, and all
    optional ones of `mmts.captions_table`; the groups are tail_verb and tail_noun.
    """
    train, official = read_train(raw), read_test(raw)
    test = official.clips
    both = sorted(set(train["narration_id"]) & set(test["narration_id"]))
    if both:
        raise InputError(
            f"{raw / TEST}: narration_id {both[0]!r} is a training clip too; take both files anew"
        )
    held = held_out(train["video_id"], settings.val_share, settings.seed)
    train["split"] = np.where(train["video_id"].isin(held), "val", "train")
    clips = pd.concat([train, test.assign(split="test")], ignore_index=True)
    listed = read_train_sentences(raw) | set(official.sentences["narration_id"])
    clips = first_per_split(clips, settings.limit, item="video_id")
    clips["sentence"] = sentences(clips, listed)
    videos = clips[["video_id", "participant_id"]].drop_duplicates("video_id")
    media = dict.fromkeys(videos["video_id"], "")
    if settings.videos is not None:
        folder = require(
            raw / settings.videos, "put the videos there, or set videos: null for annotations only"
        )
        pairs = videos.itertuples(index=False, name=None)
        media = find_videos(folder, pairs, settings.layout)
    verb, noun = clips["verb_class"].astype(str), clips["noun_class"].astype(str)
    sample_id = PREFIX + clips["narration_id"]
    rows = pd.DataFrame(
        {
            "sample_id": sample_id,
            "caption_id": sample_id,
            "caption": clips["narration"],
            "media": clips["video_id"].map(media),
            "split": clips["split"],
            "start": clips["start"],
            "stop": clips["stop"],
            "verb_class": clips["verb_class"],
            "noun_classes": clips["noun_classes"].map(list),
            "sentence": clips["sentence"],
            "groups": tail_groups(clips, read_tail(raw)),
            "class_verb": verb,
            "class_noun": noun,
            "class_verb_noun": verb + "_" + noun,
        }
    )
    return SourceRows(
        rows,
        CREDIT,
        publishable=False,
        media="none" if settings.videos is None else "videos",
        may_lack=("val",) if settings.val_share == 0 else (),
    )


def sentences(clips: pd.DataFrame, listed: Set[str]) -> pd.Series:
    """Which clips' narrations are the sentences of their split: [clips] bool.

    In the test split the listed ones. In the others too, and for a narration of which no clip is
    listed (the official list knows no validation split, the train file may be a part) the first.
    In the validation split also the first clip of a verb and nouns that no sentence has: clips of
    one narration may differ in them, and each clip is a query that needs a sentence of its own.
    """
    found = clips["narration_id"].isin(listed)
    classes = clips["noun_classes"].map(frozenset)
    for columns, chosen in (
        ([clips["narration"]], clips["split"] != "test"),
        ([clips["verb_class"], classes], clips["split"] == "val"),
    ):
        of = [clips["split"], *columns]
        first = ~pd.concat(of, axis=1).duplicated()
        found = found | (chosen & first & ~found.groupby(of).transform("any"))
    return found


def tail_groups(clips: pd.DataFrame, tail: Mapping[str, frozenset[int]]) -> list[list[str]]:
    """For each clip `tail_verb` if its verb is a tail class, `tail_noun` if any of its nouns is."""
    verbs, nouns = (tail.get(what, frozenset()) for what in ("verb", "noun"))
    return [
        ["tail_verb"] * (verb in verbs) + ["tail_noun"] * (not nouns.isdisjoint(of))
        for verb, of in zip(clips["verb_class"], clips["noun_classes"], strict=True)
    ]


def held_out(videos: Iterable[str], share: float, seed: int) -> set[str]:
    """The videos to validate on: a share of them, at least one unless the share is 0."""
    names = sorted(set(videos))
    count = max(1, round(share * len(names))) if share else 0
    order = np.random.default_rng(seed).permutation(len(names))
    return {names[i] for i in order[:count]}


def find_videos(
    folder: Path, videos: Iterable[tuple[str, str]], layout: str = "auto"
) -> dict[str, str]:
    """Where each video lies: a file, or in the layout `chunks` a folder of files.

    Args:
        folder: the folder of videos.
        videos: (video_id, participant_id) of each.
        layout: a name in LAYOUTS, or auto: each video where it is found first.

    Returns:
        A path for each video_id; one that is not there has the path that it ought to have.
    """
    wanted = list(LAYOUTS) if layout == "auto" else [layout]
    listed: dict[Path, dict[str, Path]] = {}
    used: list[str] = []
    found: dict[str, str] = {}
    missing: list[tuple[str, str]] = []
    for video, participant in videos:
        for kind in wanted:
            path = _find(folder, kind, video, participant, listed)
            if path is not None:
                found[video] = str(path)
                used.append(kind)
                break
        else:
            missing.append((video, participant))
    if not found:
        looked = ", ".join(pattern for kind in wanted for pattern in LAYOUTS[kind])
        raise InputError(
            f"{folder} has none of the {len(missing)} videos (looked for {looked}); move them, or "
            "set videos and layout to where they lie"
        )
    expected = LAYOUTS[max(wanted, key=used.count)][0].rstrip("/")
    for video, participant in missing:
        found[video] = str(folder / expected.format(video=video, participant=participant))
    return found


def _find(
    folder: Path, kind: str, video: str, participant: str, listed: dict[Path, dict[str, Path]]
) -> Path | None:
    """The video in one layout, whatever the case of its .mp4."""
    for pattern in LAYOUTS[kind]:
        path = folder / pattern.format(video=video, participant=participant)
        if path.parent not in listed:
            listed[path.parent] = _listing(path.parent)
        of_folder = listed[path.parent]
        there = of_folder.get(path.name) or of_folder.get(path.name.lower())
        if there is not None and there.is_dir() == (kind == "chunks"):
            return there
    return None


def _listing(folder: Path) -> dict[str, Path]:
    """What a folder holds, by its name and also in lower case; nothing where it is not there."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {p.name.lower(): p for p in found} | {p.name: p for p in found}
