"""Rows of the sources -> the captions table that every later stage reads.

Columns, in this order: `source`, `split` (train, val, test), `sample_id` (the media item),
`caption_id` (unique), `caption`, `media` (a reference, see mmts.media; empty where a source has
annotations only), `media_bytes`, `media_sha256` (empty for videos), then where a source has them

- `start`, `stop`: of a clip, in seconds of its video;
- `verb_class`, `noun_classes` (a list): what the caption's graded relevancy is made of;
- `sentence`: whether the caption is searched for and searched among; without the column all are;
- `groups` (a list): names of groups of queries that `evaluate` reports apart;

and any `class_<name>`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmts.columns import Kind, check_columns
from mmts.errors import InputError
from mmts.files import read_parquet
from mmts.media import MediaFacts, MediaReader, inspect, inspect_videos, instead
from mmts.settings import Captions, Split
from mmts.sources import CAPTION_BYTES, MISSING, SourceRows, read_source
from mmts.sources.coverage import coverage, known_missing
from mmts.sources.names import shown

SPLITS = ("train", "val", "test")
COLUMNS = (
    "source", "split", "sample_id", "caption_id", "caption", "media", "media_bytes", "media_sha256",
)  # fmt: skip
OPTIONAL_COLUMNS = ("start", "stop", "verb_class", "noun_classes", "sentence", "groups")
KINDS: dict[str, Kind] = {
    **dict.fromkeys(COLUMNS, "text"), "media_bytes": "whole", "start": "number", "stop": "number",
    "verb_class": "whole", "noun_classes": "list", "sentence": "bool", "groups": "list",
}  # fmt: skip
DROPPED_COLUMNS = ("source", "row", "sample_id", "reason", "media")
INVISIBLE = re.compile(
    "[\\s\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff"
    "\\U000e0000-\\U000e007f]*"
)
"""Blanks, control characters, and marks that only join, turn or tag what stands beside them."""


class CaptionsTable(NamedTuple):
    """The table, the rows that were dropped and why, and a summary to store as JSON."""

    rows: pd.DataFrame
    dropped: pd.DataFrame
    summary: dict[str, Any]


def build(settings: Captions, raw: Path, work: Path, final: Path) -> CaptionsTable:
    """Read all sources of a dataset, check every row and picture, and assign the splits.

    Args:
        settings: `datasets.<name>.captions`.
        raw: data/raw/<dataset>.
        work, final: see `mmts.sources.read_source`.

    Raises:
        InputError: a duplicate id, too many bad pictures, too few of a source's listed images, or
            a split without rows.
    """
    kept, dropped = [], []
    facts: dict[str, dict[str, Any]] = {}
    may_lack = set(SPLITS)
    reader = MediaReader()
    for name, source in settings.sources.items():
        found = read_source(source, raw, work, final)
        facts[name] = {
            "kind": source.kind,
            "publishable": found.publishable,
            "credit": found.credit,
        }
        if found.uncaptioned:
            facts[name]["uncaptioned"] = dict(found.uncaptioned)
        counted = found.min_coverage is not None and found.media != "none"
        if counted:
            coverage(name, found, known_missing(found.rows))  # before all pictures are read
        rows, lost = clean(name, found, reader, settings.max_bad_share, work, final)
        if counted:
            facts[name]["coverage"] = coverage(name, found, lost)
        split = getattr(source, "split", None)
        kept.append(with_splits(rows, split))
        dropped.append(lost)
        may_lack.intersection_update(found.may_lack)
    rows = pd.concat(kept, ignore_index=True)
    lost = pd.concat(dropped, ignore_index=True)
    classes = [column for column in rows.columns if column.startswith("class_")]
    rows[classes] = rows[classes].fillna("")
    optional = [column for column in OPTIONAL_COLUMNS if column in rows]
    for column in optional:
        lacking = rows.loc[rows[column].isna(), "source"]
        if not lacking.empty:
            raise InputError(
                f"source {lacking.iloc[0]} has no {column}, others have; make them two datasets"
            )
    rows = rows[[*COLUMNS, *optional, *classes]]
    check_ids(rows)
    for split in SPLITS:
        if split not in may_lack and not (rows["split"] == split).any():
            reasons = ", ".join(f"{n} {r}" for r, n in lost["reason"].value_counts().items())
            raise InputError(
                f"split {split} has no rows ({len(rows)} in all; dropped: {reasons or 'none'}); "
                "add rows or change the shares of the splits"
            )
    return CaptionsTable(rows, lost, {"sources": facts, **counts(rows, lost)})


def clean(
    name: str, found: SourceRows, reader: MediaReader, max_bad_share: float, work: Path, final: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The usable rows of one source, and the dropped ones with their reasons."""
    rows = found.rows.assign(source=name)
    if rows.empty:
        raise InputError(f"source {name} has no rows; check its files")
    reason = unusable_captions(rows["caption"])
    reason[rows["sample_id"].str.strip() == ""] = "no image named"
    if "lacks" in rows:
        reason = reason.where(rows["lacks"] == "", rows["lacks"])
    references = list(rows.loc[reason == "", "media"].drop_duplicates())
    made = f"{final}{os.sep}"  # what the source itself has just made
    in_work = {
        r: f"{work}{os.sep}{r.removeprefix(made)}" if r.startswith(made) else r for r in references
    }
    seen, unusable = look(found.media, list(in_work.values()), reader, name)
    bad = {r: unusable[w] for r, w in in_work.items() if w in unusable}
    if bad and found.media == "pictures" and list(bad.values()) == [MISSING] * len(references):
        raise InputError(
            f"source {name}: none of its {len(references):,} pictures is there; the first was "
            f"looked for as {references[0]}{instead(references[0])}: mend the names, or the "
            "setting that says where the pictures are (image_root, images)"
        )
    counted = [r for r in bad if found.min_coverage is None or bad[r] != MISSING]
    if len(counted) > max_bad_share * len(references):
        first, why = counted[0], bad[counted[0]]
        raise InputError(
            f"source {name}: {len(counted)} of {len(references)} {found.media} are bad, above "
            f"max_bad_share {max_bad_share}; the first is {first} ({why}): mend them or raise "
            "captions.max_bad_share"
        )
    reason = reason.where(~rows["media"].isin(list(bad)), rows["media"].map(bad))
    good = rows[reason == ""].copy()
    facts = [seen[in_work[reference]] for reference in good["media"]]
    good["media_bytes"] = np.array([found.size for found in facts], dtype=np.int64)
    good["media_sha256"] = [found.sha256 for found in facts]
    if "caption_id" not in good:
        nth = good.groupby("sample_id", sort=False).cumcount().astype(str)
        good["caption_id"] = good["sample_id"] + "#" + nth
    lost = rows[reason != ""]
    return good, pd.DataFrame(
        {
            "source": name,
            "row": lost.index.to_numpy(dtype=np.int64),
            "sample_id": lost["sample_id"].to_numpy(),
            "reason": reason[reason != ""].to_numpy(),
            "media": lost["media"].to_numpy(),  # where it was looked for
        },
        columns=list(DROPPED_COLUMNS),
    )


def unusable_captions(captions: pd.Series) -> pd.Series:
    """Why each caption cannot be used, or nothing: the one rule for the captions of all sources.

    One without a visible character is empty, one of more than CAPTION_BYTES bytes of UTF-8 is too
    long. All others are kept as they are, character by character.
    """
    texts = captions.tolist()
    empty = [INVISIBLE.fullmatch(text) is not None for text in texts]
    long = [len(text) > CAPTION_BYTES // 4 and len(text.encode()) > CAPTION_BYTES for text in texts]
    found = np.select([empty, long], ["empty caption", "caption too long"], "")
    return pd.Series(found, index=captions.index, dtype="str")


def look(
    kind: str, references: list[str], reader: MediaReader, name: str
) -> tuple[dict[str, MediaFacts], dict[str, str]]:
    """Facts of the good media, what is wrong with the others; videos are not read through."""
    if kind == "none":
        return {reference: MediaFacts(0, "") for reference in references}, {}
    return inspect_videos(references) if kind == "videos" else inspect(references, reader, name)


def with_splits(rows: pd.DataFrame, split: Split | None) -> pd.DataFrame:
    """Add `split` where a source gives none: seeded, by `group` or else by media item."""
    if "split" in rows:
        torn = rows.groupby("sample_id", sort=False)["split"].nunique()
        if (torn > 1).any():
            raise InputError(
                f"image {torn[torn > 1].index[0]!r} stands in several splits; its captions must "
                "all be in one"
            )
        return rows
    if split is None:
        raise InputError("the source gives no splits and has no `split` setting")
    groups = rows["group"] if "group" in rows else rows["sample_id"]
    names = np.array(sorted(groups.unique()), dtype=object)
    order = np.random.default_rng(split.seed).permutation(len(names))
    train, val = round(split.train * len(names)), round((split.train + split.val) * len(names))
    words = np.repeat(SPLITS, [train, val - train, len(names) - val])
    split_of = dict(zip(names[order], words, strict=True))
    return rows.assign(split=groups.map(split_of))


def check_ids(rows: pd.DataFrame) -> None:
    """InputError naming the first media item of two sources, or caption_id that stands twice."""
    sources = rows.drop_duplicates(["source", "sample_id"])
    shared = sources[sources["sample_id"].duplicated(keep=False)]
    if not shared.empty:
        name = shared["sample_id"].iloc[0]
        both = " and ".join(shared.loc[shared["sample_id"] == name, "source"])
        raise InputError(f"image {name!r} stands in the sources {both}; list it in one of them")
    twice = rows["caption_id"].duplicated(keep=False)
    if twice.any():
        name = rows.loc[twice, "caption_id"].iloc[0]
        same = rows[rows["caption_id"] == name]
        first, second = (shown(caption) for caption in same["caption"].iloc[:2])
        raise InputError(
            f"id {shown(name)} stands {len(same)} times (captions {first} and {second}); every row "
            "needs its own"
        )


def counts(rows: pd.DataFrame, dropped: pd.DataFrame) -> dict[str, Any]:
    """Captions and media items a split, and dropped rows a reason."""
    by_split = rows.groupby("split")
    return {
        "rows": {s: int((rows["split"] == s).sum()) for s in SPLITS},
        "media": {s: int(by_split["sample_id"].nunique().get(s, 0)) for s in SPLITS},
        "dropped": {str(k): int(v) for k, v in sorted(dropped["reason"].value_counts().items())},
    }


def read_captions(folder: Path) -> pd.DataFrame:
    """The captions table of a dataset from `data/captions/<dataset>`."""
    path = folder / "captions.parquet"
    rows = read_parquet(path, "run `dvc repro`")
    wanted = {name: KINDS[name] for name in KINDS if name in COLUMNS or name in rows}
    check_columns(rows, wanted, path, "run `dvc repro -sf captions`")
    odd = ~rows["split"].isin(SPLITS)
    if odd.any() or rows["caption_id"].duplicated().any():
        problem = f"split {rows['split'][odd].iloc[0]!r}" if odd.any() else "a caption_id twice"
        raise InputError(f"{path} has {problem}; run `dvc repro -sf captions`")
    return rows
