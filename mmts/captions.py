"""Rows of the sources -> the captions table (`mmts.captions_table`)."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmts.captions_table import COLUMNS, OPTIONAL_COLUMNS, SPLITS, STREAM, stream_columns
from mmts.columns import plain
from mmts.errors import InputError
from mmts.long_tail import draw
from mmts.media import MediaFacts, MediaReader, inspect, inspect_videos, instead
from mmts.settings.sources import Captions, Split
from mmts.sources import CAPTION_BYTES, MISSING, SourceRows
from mmts.sources.coverage import coverage, known_missing
from mmts.sources.names import shown

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
        work, final: see `mmts.kinds.source.SourceKind.read`.

    Raises:
        InputError: a duplicate id, too many bad pictures, too few of a source's listed images, or
            a split without rows.
    """
    kept, dropped = [], []
    facts: dict[str, dict[str, Any]] = {}
    ours: dict[str, Split] = {}
    may_lack = set(SPLITS)
    reader = MediaReader()
    for name, source in settings.sources.items():
        found = source.read(raw, work, final)
        facts[name] = {
            "kind": source.kind,
            "publishable": found.publishable,
            "credit": found.credit,
        }
        if found.uncaptioned:
            facts[name]["uncaptioned"] = dict(found.uncaptioned)
        if found.official:
            facts[name]["official"] = dict(found.official)
        counted = found.min_coverage is not None and found.media != "none"
        if counted:
            coverage(name, found, known_missing(found.rows))  # before all pictures are read
        rows, lost = clean(name, found, reader, settings.max_bad_share, work, final)
        if counted:
            facts[name]["coverage"] = coverage(name, found, lost)
        shares: Split | None = getattr(source, "split", None)
        if "split" in rows:
            check_untorn(rows)
        elif shares is None:
            raise InputError("the source gives no splits and has no `split` setting")
        else:
            ours[name] = shares
            pictures = rows["sample_id"].nunique()
            rows = merge_identical(rows)
            facts[name]["merged"] = pictures - rows["sample_id"].nunique()
        kept.append(rows)
        dropped.append(lost)
        may_lack.intersection_update(found.may_lack)
    rows = assign_splits(pd.concat(kept, ignore_index=True), ours)
    lost = pd.concat(dropped, ignore_index=True)
    classes = [column for column in rows.columns if column.startswith("class_")]
    rows[classes] = rows[classes].fillna("")
    optional = [column for column in OPTIONAL_COLUMNS if column in rows]
    streams = stream_columns(rows)
    for column in (*optional, *streams):
        lacking = rows.loc[rows[column].isna(), "source"]
        if not lacking.empty:
            raise InputError(
                f"source {lacking.iloc[0]} has no {column}, others have; make them two datasets"
            )
    rows = rows[[*COLUMNS, *optional, *classes, *streams]]
    check_ids(rows)
    drawn: dict[str, Any] = {}
    if settings.long_tail is not None:
        rows, drawn["long_tail"] = draw(rows, settings.long_tail, raw)
        if settings.long_tail.test is not None:  # no longer of the official gallery
            for about in facts.values():
                about.get("official", {}).pop("test", None)
    for split in SPLITS:
        if split not in may_lack and not (rows["split"] == split).any():
            reasons = ", ".join(f"{n} {r}" for r, n in lost["reason"].value_counts().items())
            raise InputError(
                f"split {split} has no rows ({len(rows)} in all; dropped: {reasons or 'none'}); "
                "add rows, or change the shares or the seed of the splits"
            )
    summary = {"sources": facts, **drawn, **counts(rows, lost), "repeats": repeats(rows)}
    return CaptionsTable(rows, lost, summary)


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
    for column in stream_columns(good):
        good[column] = as_json(good, column, name)
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


def as_json(rows: pd.DataFrame, column: str, source: str) -> list[str]:
    """Return the values of a stream's column as JSON.

    Raises:
        InputError: a value is missing or none that JSON can say, or two rows of an item differ.
    """
    told: list[str] = []
    of_item: dict[str, tuple[int, str]] = {}
    for row, item, value in zip(rows.index, rows["sample_id"], rows[column], strict=True):
        where, named = f"source {source} row {row}", column.removeprefix(STREAM)
        try:
            text = json.dumps(value, allow_nan=False, default=plain)
        except (RecursionError, TypeError, ValueError):
            text = "null"
        if text == "null":
            raise InputError(
                f"{where}: {named} of {shown(item)} is {shown(plain(value))}; a stream needs a "
                "text, a finite number or a list of them in each row"
            )
        first, known = of_item.setdefault(item, (row, text))
        if text != known:
            raise InputError(
                f"{where}: {named} of {shown(item)} is {text[:100]}, but {known[:100]} in row "
                f"{first}; give all rows of an item one value"
            )
        told.append(text)
    return told


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


def check_untorn(rows: pd.DataFrame) -> None:
    """Raise InputError if the captions of one image are in several splits."""
    torn = rows.groupby("sample_id", sort=False)["split"].nunique()
    if (torn > 1).any():
        raise InputError(
            f"image {torn[torn > 1].index[0]!r} stands in several splits; its captions must all be "
            "in one"
        )


def merge_identical(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with files of identical bytes made one media item, the first of them.

    Two items with one picture could not be told apart in retrieval, and ties count against both. By
    other values in the columns of streams they can.
    """
    known = rows["media_sha256"] != ""
    content = contents(rows)
    first = rows[known].assign(content=content).drop_duplicates("content").set_index("content")
    merged = {
        name: content.map(first[name]).where(known, rows[name]) for name in ("sample_id", "media")
    }
    return rows.assign(**merged)


def contents(rows: pd.DataFrame) -> pd.Series:
    """Return what tells media items apart: their bytes, and what their streams are made of."""
    found = rows["media_sha256"].copy()
    for name in stream_columns(rows):
        found += rows[name]
    return found


def assign_splits(rows: pd.DataFrame, settings: Mapping[str, Split]) -> pd.DataFrame:
    """Return the rows with a `split` for the sources that do not bring their own.

    Rows that share a `group` (without such a column, a media item) or the bytes of a file stay
    together. Their split follows from a hash of the seed and of the smallest of their group names,
    so rows that are added later move no others.

    Args:
        rows: of all sources: `source`, `sample_id`, `media_sha256`, perhaps `split` and `group`.
        settings: shares and seed of each source whose rows have no split.
    """
    mine = rows[rows["source"].isin(list(settings))]
    if mine.empty:
        return rows if "split" in rows else rows.assign(split="")
    groups = mine["group"].fillna(mine["sample_id"]) if "group" in mine else mine["sample_id"]
    alone = "\0" + groups  # where there are no bytes to compare
    contents = mine["media_sha256"].where(mine["media_sha256"] != "", alone)
    group, names = pd.factorize(groups, sort=True)
    content, digests = pd.factorize(contents)
    size = len(names) + len(digests)
    links = coo_array((np.ones(len(mine)), (group, len(names) + content)), shape=(size, size))
    component = connected_components(links, directed=False)[1]
    numbers, smallest = np.unique(component[: len(names)], return_index=True)  # sorted names
    source_of = dict(zip(groups[::-1], mine["source"][::-1], strict=True))
    split_of = {
        number: _drawn_split(str(name), settings[source_of[name]])
        for number, name in zip(numbers.tolist(), names[smallest], strict=True)
    }
    found = pd.Series([split_of[component[number]] for number in group], index=mine.index)
    given = rows["split"] if "split" in rows else pd.Series(index=rows.index, dtype="str")
    return rows.assign(split=found.reindex(rows.index).fillna(given))


def _drawn_split(name: str, split: Split) -> str:
    """The split of a group: a number in [0, 1) from its name and the seed, against the shares."""
    digest = hashlib.sha256(f"{split.seed}/{name}".encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    return "train" if place < split.train else "val" if place < split.train + split.val else "test"


def repeats(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how many held-out pictures have the same bytes as another picture.

    Pictures with other values in the columns of streams can be told apart, and do not count.

    Returns:
        An entry for each pair of splits with such pictures: `split` (val or test), `also_in` (an
        earlier split, or the same), `pictures` of `split` that are repeats, `of` how many, and
        `example`, the sample_id of one of them and of a picture with the same bytes.
    """
    pictures = rows.loc[rows["media_sha256"] != ""].drop_duplicates("sample_id")
    pictures = pictures.assign(media_sha256=contents(pictures))
    found = []
    for at, split in enumerate(SPLITS):
        held_out = pictures[pictures["split"] == split]
        for other in SPLITS[: at + 1] if split != "train" else ():
            if other == split:
                same = held_out[held_out["media_sha256"].duplicated(keep=False)]
                others = same.iloc[1:]
            else:
                others = pictures[pictures["split"] == other]
                same = held_out[held_out["media_sha256"].isin(others["media_sha256"])]
            if same.empty:
                continue
            first = same.iloc[0]
            twin = others[others["media_sha256"] == first["media_sha256"]].iloc[0]
            found.append({
                "split": split, "also_in": other, "pictures": len(same), "of": len(held_out),
                "example": [first["sample_id"], twin["sample_id"]],
            })  # fmt: skip
    return found


def repeats_line(
    split: str, also_in: str, pictures: int, of: int, example: list[str] | None
) -> str:
    """Return an entry of `repeats` in words."""
    where = "another one of it" if also_in == split else f"one of {also_in}"
    names = "" if example is None else f" ({shown(example[0])} to {shown(example[1])})"
    return f"{split}: {pictures:,} of {of:,} pictures are identical to {where}{names}"


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
