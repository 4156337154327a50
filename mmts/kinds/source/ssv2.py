"""Something-Something v2 (Goyal et al. 2017), and its long tail SSv2-LT (Perrett et al. 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from mmts.kinds.source import SourceKind
from mmts.settings.base import Folder, Positive, Seed, Share, Text

if TYPE_CHECKING:
    from mmts.sources import SourceRows


class Kind(SourceKind):
    """Something-Something v2: the official JSON files, and videos if any."""

    kind: Literal["ssv2"]
    files = ("labels", "annotations", "videos")
    labels: Text = "something-something-v2-labels.json"
    """The 174 classes, in data/raw/<dataset> or an absolute path."""
    annotations: Annotated[tuple[Text, ...], Field(strict=False, min_length=2, max_length=3)] = (
        "something-something-v2-train.json", "something-something-v2-validation.json",
    )  # fmt: skip
    """Training and test, or training, validation and test, as SSv2-LT has them. Official validation
    is the test: what is officially the test has no captions."""
    videos: Folder | None = "videos"
    """Folder of the videos, in data/raw/<dataset> or an absolute path: <id>.webm, at any depth;
    null for annotations only, which is enough for clusters and shifts."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Least share of a split's clips whose videos must be there."""
    val_share: Share = 0.0
    """Share of the training clips to validate on, where there are two files; 0 leaves all of them
    to training, and to `captions.long_tail`."""
    seed: Seed = 0
    """Which clips those are."""
    limit: Positive | None = None
    """Keep only this many clips of each split (for a quick try)."""

    @model_validator(mode="after")
    def _sound(self) -> Kind:
        if len(self.annotations) == 3 and self.val_share:
            raise ValueError(
                f"val_share is {self.val_share} but annotations has a file of validation; set "
                "val_share to 0"
            )
        return self

    def read(self, raw: Path, work: Path, final: Path) -> SourceRows:
        """Return a row a clip."""
        from mmts.sources import ssv2

        return ssv2.read(self, raw)
