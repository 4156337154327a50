"""Clips that are missing or damaged."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
from tqdm import tqdm

from mmts.errors import InputError
from mmts.shards.items import Item

LOST_COLUMNS = ("source", "split", "sample_id", "media", "reason")


class Tally:
    """Counts clips that are lost, and says so as soon as they are too many."""

    def __init__(self, found: list[Item], max_bad_share: float, bar: tqdm[Any]) -> None:
        self.place = {item.sample_id: place for place, item in enumerate(found)}
        self.total, self.max_bad_share, self.bar = len(found), max_bad_share, bar
        self.of_split = Counter(item.split for item in found)
        self.lost: list[tuple[Item, str]] = []
        self.left = Counter(self.of_split)

    def count(self, item: Item, reason: str | None) -> None:
        """A clip is there, or lost for this reason."""
        self.bar.update()
        if reason is None:
            return
        self.lost.append((item, reason))
        self.left[item.split] -= 1
        lost = len(self.lost)
        if lost > self.max_bad_share * self.total:
            first, why = min(self.lost, key=lambda one: self.place[one[0].sample_id])
            raise InputError(
                f"{lost} of {self.total} clips are lost so far ({lost / self.total:.2%}), above "
                f"pack.max_bad_share {self.max_bad_share}; the first is {first.sample_id} "
                f"({why}): mend the videos or raise pack.max_bad_share"
            )
        if not self.left[item.split]:
            raise InputError(
                f"all {self.of_split[item.split]} clips of split {item.split} are lost; the last "
                f"is {item.sample_id} ({reason}): mend the videos"
            )

    def table(self) -> pd.DataFrame:
        """What is lost, in order of the captions table."""
        lost = sorted(self.lost, key=lambda one: self.place[one[0].sample_id])
        rows = [(i.source, i.split, i.sample_id, i.media, reason) for i, reason in lost]
        return pd.DataFrame(rows, columns=list(LOST_COLUMNS), dtype="object")
