"""How many of the images that a source lists are there."""

from __future__ import annotations

import pandas as pd

from mmts.errors import InputError
from mmts.sources import MISSING, SourceRows


def coverage(name: str, found: SourceRows, lost: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many images of each split are listed, and how many of these are there.

    Args:
        name: of the source.
        found: its rows, all of them listed; some with a reason in `lacks`.
        lost: what `mmts.captions.clean` has dropped.

    Raises:
        InputError: a split has a smaller share of its images than `min_coverage`.
    """
    assert found.min_coverage is not None
    images = found.rows.drop_duplicates("sample_id")
    missing = lost[lost["reason"].str.startswith(MISSING)]
    there = images[~images["sample_id"].isin(missing["sample_id"])]
    facts, what = {}, "clips" if found.media == "videos" else "images"
    for split in ("train", "val", "test"):
        listed = int((images["split"] == split).sum()) + found.untried.get(split, 0)
        if not listed:
            continue
        facts[split] = {"listed": listed, "there": int((there["split"] == split).sum())}
        if facts[split]["there"] < found.min_coverage * listed:
            of_split = images.loc[images["split"] == split, "sample_id"]
            first = missing[missing["sample_id"].isin(of_split)].head(1)
            example = "".join(
                f"; the first is {row.sample_id} ({row.reason}{_looked(row.media)})"
                for row in first.itertuples()
            )
            line = coverage_line(name, split, **facts[split], what=what)
            raise InputError(
                f"source {line}, below min_coverage "
                f"{found.min_coverage}{example}: get the others, or lower min_coverage"
            )
    return facts


def _looked(media: object) -> str:
    return f", looked for as {media}" if media else ""


def known_missing(rows: pd.DataFrame) -> pd.DataFrame:
    """sample_id, reason and no media of the rows whose source knows that there is no picture."""
    if "lacks" not in rows:
        return pd.DataFrame({"sample_id": [], "reason": [], "media": []}, dtype="str")
    lacking = rows[rows["lacks"] != ""]
    return lacking[["sample_id"]].assign(reason=lacking["lacks"], media="")


def coverage_line(source: str, split: str, listed: int, there: int, what: str = "images") -> str:
    """For example `cc3m train: 2,300,123 of 3,318,333 listed images are there (69.3 %)`."""
    share = int(1000 * there / listed) / 10  # rounded down: only all of them are 100 %
    return f"{source} {split}: {there:,} of {listed:,} listed {what} are there ({share} %)"
