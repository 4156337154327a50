"""What coco and flickr30k share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from mmts.kinds.source import SourceKind
from mmts.settings.base import Folder, Positive, Text
from mmts.settings.sources import SplitName

if TYPE_CHECKING:
    from mmts.sources import SourceRows


class Karpathy(SourceKind):
    """What coco and flickr30k share: captions of images in the splits of Karpathy & Li (2015)."""

    files = ("captions", "images")
    fixed = False
    credit: ClassVar[str]
    listed: ClassVar[Mapping[str, int]]
    """Images of each split in Karpathy's file."""
    numbered: ClassVar[str | None] = None
    """The key of the images' numbers there, where they do not go by file names."""
    captions: Text
    """Karpathy's JSON; or a file of one split: COCO's own captions_*.json, or a .txt with five
    consecutive lines an image. In data/raw/<dataset>, or an absolute path."""
    images: Folder | None
    """Folder (or one tar) of the images, in data/raw/<dataset> or an absolute path; null for
    captions alone."""
    splits: Annotated[tuple[SplitName, ...], Field(strict=False, min_length=1)] = (
        "train", "val", "test",
    )  # fmt: skip
    """What the source contributes: [test] only evaluates on it. A file of one split: its name."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Least share of a split's listed images that must be there."""
    limit: Positive | None = None
    """Keep only this many images of each split (for a quick try)."""

    @model_validator(mode="after")
    def _sound(self) -> Karpathy:
        if len(set(self.splits)) < len(self.splits):
            raise ValueError(f"splits {list(self.splits)} names one twice")
        if self.captions.endswith(".txt") and self.images is not None:
            raise ValueError(
                f"captions {self.captions} does not name its images; set images: null, or take "
                "Karpathy's JSON"
            )
        return self

    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Return a row a caption of the images of `splits`."""
        from mmts.sources import karpathy

        return karpathy.read(self, raw)
