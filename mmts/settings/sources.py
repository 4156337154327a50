"""Where captions and media come from; each kind of source is a file of `mmts.kinds.source`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmts.kinds.source import Source
from mmts.settings.base import Name, Positive, Seed, Settings, Share, Text

SplitName = Literal["train", "val", "test"]


class Split(Settings):
    """Shares of the splits, for sources that bring none of their own.

    Each group of rows (an image; of OpenMoji, a base emoji) is in one split, chosen by a hash of
    its name and of the seed. The shares are met on average, not exactly.
    """

    train: Annotated[float, Field(gt=0, lt=1)] = 0.75
    val: Annotated[float, Field(gt=0, lt=1)] = 0.10
    test: Annotated[float, Field(gt=0, lt=1)] = 0.15
    seed: Seed = 0

    @model_validator(mode="after")
    def _sum(self) -> Split:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + val + test is {total:.4g}; the shares must add up to 1")
        return self


class LongTail(Settings):
    """A long tail to draw from the splits of all sources: so many training items of each class.

    Either `counts` says how many, or `ratio` and `alpha` do: the largest class has the most, and
    sizes fall as the density of a Pareto distribution does.
    """

    column: Text
    """A class column of the sources; of one of kind ssv2: template."""
    counts: Text | None = None
    """ssv2_lt for the published ones of SSv2-LT; or a CSV file with the columns class and count, in
    data/raw/<dataset> or an absolute path. Classes that it does not name are left out."""
    ratio: Annotated[float, Field(ge=1, le=1e6)] | None = None
    """Of the largest class to the smallest, before rounding."""
    alpha: Annotated[float, Field(gt=0, le=100)] = 6.0
    """Of the Pareto distribution, with `ratio`."""
    largest: Positive | None = None
    """Size of the largest class, with `ratio`; null: as large as all classes have enough for."""
    val: Positive | None = None
    """Items of each class to validate on, of those of the split val, or if there are none of the
    training items; null leaves that split as it is."""
    test: Positive | None = None
    """Items of each class to test on, of those of the split test; null leaves that as it is."""
    seed: Seed = 0
    """Which items those are."""

    @model_validator(mode="after")
    def _sound(self) -> LongTail:
        if (self.counts is None) == (self.ratio is None):
            both = "neither" if self.counts is None else "both"
            raise ValueError(f"{both} of counts and ratio is set; set one of them")
        if self.counts is not None and self.largest is not None:
            raise ValueError(
                f"largest is {self.largest} but counts says how many there are; leave out largest"
            )
        return self


class Captions(Settings):
    """Where a dataset's pictures and captions come from."""

    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    max_bad_share: Share = 0.0
    """Share of media files that may be missing or undecodable; they are dropped and listed. Where a
    source has min_coverage, missing ones count there instead."""
    long_tail: LongTail | None = None
    """A long tail to draw; null takes all rows."""

    def named(self) -> Iterator[str]:
        """Yield the files and folders that the settings name."""
        for source in self.sources.values():
            yield from source.named()
        if self.long_tail is not None and self.long_tail.counts is not None:
            yield self.long_tail.counts
