"""CC3M, Conceptual Captions (Sharma et al. 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mmts.kinds.source import SourceKind
from mmts.settings.base import Folder, Positive, Settings, Text

if TYPE_CHECKING:
    from mmts.sources import SourceRows


class Part(Settings):
    """The files of one split of CC3M: what img2dataset wrote, the official TSV, or both."""

    tsv: Text | None = None
    """The official TSV (caption, tab, url). Beside img2dataset's output it says how many images
    were listed. Paths are relative to data/raw/<dataset>, or absolute."""
    images: Folder | None = None
    """Folder of img2dataset's output (tar shards or files), or of pictures; null for captions
    alone."""
    names: Text = "img2dataset"
    """Which picture belongs to a line: img2dataset (by its own records), column (the third of the
    TSV), or a pattern of {row} (lines from 0, a header apart), {shard} and {index} (row divided by
    10,000 and the remainder) and {crc32} (of the url), such as {shard:05d}/{row:09d}.jpg."""

    @model_validator(mode="after")
    def _complete(self) -> Part:
        if self.tsv is None and self.images is None:
            raise ValueError("it names neither tsv nor images; name one of them or both")
        if self.tsv is None and self.names != "img2dataset":
            raise ValueError(f"names {self.names!r} is about lines of a TSV; name it as tsv")
        return self

    @field_validator("names")
    @classmethod
    def _pattern(cls, names: str) -> str:
        if names in ("img2dataset", "column"):
            return names
        try:
            first, other = (
                names.format(row=n, shard=n // 10_000, index=n % 10_000, crc32=n)
                for n in (0, 30_001)
            )
        except (LookupError, ValueError, AttributeError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"{names!r} is no pattern of {{row}}, {{shard}}, {{index}} and {{crc32}} "
                f"({problem})"
            ) from None
        if first == other:
            raise ValueError(
                f"{names!r} gives every line one picture; it is img2dataset, column, or a pattern "
                "such as {shard:05d}/{row:09d}.jpg"
            )
        return names


class Kind(SourceKind):
    """CC3M (Conceptual Captions): img2dataset's shards read in place, or the TSV and pictures."""

    kind: Literal["cc3m"]
    files = ("tsv", "images")
    fixed = False
    train: Part | None = None
    """Files of the training split; null for none."""
    val: Part | None = None
    """Files of the validation split, which is small and official; null for none."""
    test: Part | None = None
    """Files to test on; CC3M has no official ones."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least share of a split's listed images that must be there; many urls are dead."""
    limit: Positive | None = None
    """Keep only this many images of each split (for a quick try)."""

    @model_validator(mode="after")
    def _any(self) -> Kind:
        if self.train is None and self.val is None and self.test is None:
            raise ValueError("it has none of train, val and test; name the files of one of them")
        return self

    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Return a row a listed image, also of those that could not be downloaded."""
        from mmts.sources import cc3m

        return cc3m.read(self, raw)
