"""Where captions and media come from; each kind of source is a file of `mmts.kinds.source`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmts.kinds.source import Source
from mmts.settings.base import Name, Seed, Settings, Share

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


class Captions(Settings):
    """Where a dataset's pictures and captions come from."""

    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    max_bad_share: Share = 0.0
    """Share of media files that may be missing or undecodable; they are dropped and listed. Where a
    source has min_coverage, missing ones count there instead."""
