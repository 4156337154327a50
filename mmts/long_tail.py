"""A long tail drawn from the classes of a dataset: how many of each class, and which."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.captions_table import class_column
from mmts.errors import InputError
from mmts.files import require
from mmts.settings.sources import LongTail
from mmts.sources.delimited import read_csv
from mmts.sources.names import shown
from mmts.sources.ssv2_lt import COUNTS

PUBLISHED = {"ssv2_lt": COUNTS}
KEY = "captions.long_tail"


def pareto(classes: int, largest: float, alpha: float, ratio: float) -> NDArray[np.int64]:
    """Return class sizes that follow the density of a Pareto distribution, largest first.

    The density falls as x^-(alpha + 1); x goes in even steps from 1 to where it has fallen to
    1 / ratio. With 174 classes, 2,500, alpha 6 and ratio 545.187 = 2.46^7 these are the sizes of
    SSv2-LT.

    Args:
        classes: how many.
        largest: size of the largest.
        alpha: of the distribution, above 0.
        ratio: of the largest size to the smallest, before they are rounded.

    Returns:
        [classes], each at least 1.
    """
    sizes = np.round(largest * _density(classes, alpha, ratio)).astype(np.int64)
    return np.maximum(sizes, 1)


def _density(classes: int, alpha: float, ratio: float) -> NDArray[np.float64]:
    x = np.linspace(1.0, ratio ** (1 / (alpha + 1)), classes)
    return np.asarray(x ** -(alpha + 1))


def draw(rows: pd.DataFrame, settings: LongTail, raw: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows of the long tail, in their order, and what was drawn.

    Items of a class are put into the order of a hash of the seed and their names. Training takes
    the first, validation the last where it is drawn from the training items, so that neither moves
    with the size of the other, and other classes and items move none.

    Args:
        rows: of the captions table, with splits.
        settings: `datasets.<name>.captions.long_tail`.
        raw: data/raw/<dataset>.

    Raises:
        InputError: there is no such column, an item without a class or with two, or a class with
            fewer training items than are wanted.
    """
    items = _items(rows, settings)
    split, label = items["split"], items["label"]
    pools = {"train": "train"}
    if settings.val is not None:
        pools["val"] = "val" if (split == "val").any() else "train"
    if settings.test is not None:
        pools["test"] = "test"
    aside = settings.val or 0 if pools.get("val") == "train" else 0
    wanted = _wanted(label[split == "train"], settings, raw, aside)
    place = items.groupby(["split", "label"]).cumcount()
    last = items.groupby(["split", "label"]).cumcount(ascending=False)
    size = label.map(wanted).fillna(0)
    found = split.mask(split.isin(list(pools.values())), "")
    for into, pool in pools.items():
        number = size if into == "train" else getattr(settings, into) * (size > 0)
        order = last if pool != into else place
        found = found.mask((split == pool) & (order < number), into)
    told = {
        "column": settings.column,
        "counts": settings.counts or "",
        "seed": settings.seed,
        "classes": len(wanted),
        "largest": max(wanted.values()),
        "smallest": min(wanted.values()),
        "drawn": {
            into: {
                "items": int((found == into).sum()),
                "pool": pool,
                "of": int((split == pool).sum()),
                **_held_out(label[found == into], getattr(settings, into, None), len(wanted)),
            }
            for into, pool in pools.items()
        },
    }
    new = rows["sample_id"].map(dict(zip(items["sample_id"], found, strict=True)))
    return rows.assign(split=new)[new != ""].reset_index(drop=True), told


def _held_out(labels: pd.Series, each: int | None, classes: int) -> dict[str, int]:
    """How many items a class were wanted, and how many classes have fewer."""
    if each is None:
        return {}
    return {"each": each, "fewer": classes - int((labels.value_counts() == each).sum())}


def _items(rows: pd.DataFrame, settings: LongTail) -> pd.DataFrame:
    """sample_id, split and label of the media items, in the order to draw in."""
    column = class_column(rows, settings.column, f"{KEY}.column is {settings.column!r}")
    if "sentence" in rows and (settings.val is not None or settings.test is not None):
        raise InputError(
            f"{KEY}.val and test are of no use where only some captions are sentences "
            "(EPIC-KITCHENS-100): those that remained would have none; set both to null"
        )
    found = rows[["sample_id", "split"]].assign(label=rows[column])
    none = found.loc[found["label"] == "", "sample_id"]
    if len(none):
        raise InputError(
            f"{KEY}.column is {settings.column!r}: {len(none):,} rows have no class; fill in that "
            f"of {shown(none.iloc[0])} first"
        )
    items = found.drop_duplicates("sample_id")
    pairs = found.drop_duplicates(["sample_id", "label"])
    twice = pairs.loc[pairs["sample_id"].duplicated(), "sample_id"]
    if len(twice):
        name = twice.iloc[0]
        both = " and ".join(map(shown, pairs.loc[pairs["sample_id"] == name, "label"].iloc[:2]))
        raise InputError(
            f"{KEY}.column is {settings.column!r}: {shown(name)} has the classes {both}; name a "
            "column in which all captions of an item have one class"
        )
    order = [
        hashlib.sha256(f"{settings.seed}/{name}".encode("utf-8", "surrogatepass")).digest()
        for name in items["sample_id"]
    ]
    return items.assign(order=order).sort_values("order", ignore_index=True)


def _wanted(labels: pd.Series, settings: LongTail, raw: Path, aside: int) -> dict[str, int]:
    """Training items to draw of each class.

    Args:
        labels: classes of the training items.
        settings: of the long tail.
        raw: data/raw/<dataset>.
        aside: how many of each class are left for validation.
    """
    there = {str(label): int(size) for label, size in labels.value_counts().items()}
    if not there:
        raise InputError(f"{KEY}: there are no training items; leave out long_tail")
    if settings.counts is not None:
        wanted = PUBLISHED.get(settings.counts) or read_counts(raw / settings.counts)
    else:
        assert settings.ratio is not None
        order = sorted(there, key=lambda label: (-there[label], label))
        largest = settings.largest
        if largest is None:  # the most that each class has enough for
            room = np.array([there[label] - aside for label in order]) + 0.49
            density = _density(len(order), settings.alpha, settings.ratio)
            largest = max(1, int((room / density).min()))
        sizes = pareto(len(order), largest, settings.alpha, settings.ratio)
        wanted = dict(zip(order, sizes.tolist(), strict=True))
    short = [label for label, size in wanted.items() if there.get(label, 0) < size + aside]
    if short:
        first = short[0]
        plus = f" and {aside:,} to validate on" if aside else ""
        others = f" (and {len(short) - 1:,} more classes lack some)" if len(short) > 1 else ""
        raise InputError(
            f"{KEY}: the class {shown(first)} needs {wanted[first]:,} training items{plus}, but "
            f"has {there.get(first, 0):,}{others}: lower {_lever(settings)}, or get the items that "
            "are missing"
        )
    return wanted


def _lever(settings: LongTail) -> str:
    what = "its count" if settings.counts is not None else "largest"
    return what if settings.val is None else f"{what} or val"


def read_counts(path: Path) -> dict[str, int]:
    """Training items a class, from a CSV file with the columns class and count."""
    table = read_csv(require(path, f"mend {KEY}.counts"), ",")
    for column in ("class", "count"):
        if column not in table:
            has = ", ".join(map(shown, table.columns))
            raise InputError(f"{path} has no column {column!r}; it has {has}")
    found: dict[str, int] = {}
    for line, label, count in zip(table.index, table["class"], table["count"], strict=True):
        if re.fullmatch("[0-9]{1,9}", count) is None or not int(count):
            raise InputError(
                f"{path} line {line}: count is {shown(count)}; it must be a whole number above 0"
            )
        if label in found:
            raise InputError(f"{path} line {line}: the class {shown(label)} stands twice")
        found[label] = int(count)
    if not found:
        raise InputError(f"{path} has no rows; write a class and its count a row")
    return found


def long_tail_line(told: Mapping[str, Any], item: str) -> str:
    """Return what was drawn, in words; `item` is their name, in the plural."""
    parts = [
        f"{of['items']:,} of {of['of']:,} {of['pool']} {item}"
        + (f" for {into}" if into != of["pool"] else "")
        + (f", {of['each']:,} a class" if of.get("each") else "")
        + (f" (fewer in {of['fewer']:,})" if of.get("fewer") else "")
        for into, of in told["drawn"].items()
    ]
    sizes = f"{told['classes']:,} classes of {told['largest']:,} to {told['smallest']:,} {item}"
    line = f"A long tail was drawn by {told['column']} with seed {told['seed']}"
    if told["counts"] not in PUBLISHED:
        return f"{line} ({sizes}): {'; '.join(parts)}."
    return (
        f"{line} ({sizes}, the published counts of SSv2-LT): {'; '.join(parts)}. The {item} "
        "themselves differ from the published ones."
    )
