"""The grid, a dataset as it stands in params.yaml, and the report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmts.settings.base import (
    END,
    Count,
    Name,
    Positive,
    Resamples,
    Seed,
    Settings,
    Share,
    Text,
    Workers,
    check_apart,
)
from mmts.settings.sources import Captions
from mmts.settings.towers import Towers
from mmts.settings.training import Evaluate, Train


class Grid(Settings):
    """The cells of the experiment: datasets x methods x seeds."""

    datasets: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    methods: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _no_repeats(self) -> Grid:
        for key in ("datasets", "methods", "seeds"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key} {list(values)} names one twice; every cell is run once")
        check_apart(self.datasets, "datasets")
        check_apart(self.methods, "methods")
        return self


class Embed(Settings):
    """The sentence encoder whose vectors are clustered."""

    model: Text
    """`package:<import name>`, a local folder, or a hub id."""
    batch_size: Positive = 64


class KMeansClustering(Settings):
    """K-Means on the training captions' vectors (paper section 3.2)."""

    kind: Literal["kmeans"]
    k: Positive
    features: Literal["text", "vision", "lsa"] = "text"
    """Vectors of the sentence encoder, features of the frozen vision tower, or latent semantic
    analysis of the captions' words, which needs no encoder."""
    seed: Seed = 0
    starts: Positive = 1
    """Restarts; the one with the lowest inertia is kept."""


class ColumnClustering(Settings):
    """The classes of a column as clusters (paper section 4.4)."""

    kind: Literal["column"]
    column: Text


Clustering = Annotated[KMeansClustering | ColumnClustering, Field(discriminator="kind")]


class Pack(Settings):
    """WebDataset shards."""

    shard_size: Positive
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
    workers: Workers = 0
    """Processes that cut videos, or read tars in place; 0 works in the stage's own process."""

    @model_validator(mode="after")
    def _nothing_shrinks_in_place(self) -> Pack:
        if self.in_place and self.image_size is not None:
            raise ValueError(
                f"in_place is true but image_size is {self.image_size}; pictures in place keep "
                "their size: set image_size to null, or in_place to false"
            )
        return self


class Dataset(Settings):
    """Everything about one dataset, as it stands under `datasets.<name>`."""

    captions: Captions
    embed: Embed
    towers: Towers
    clusterings: dict[Name, Clustering]
    pack: Pack
    train: Train
    evaluate: Evaluate
    methods: dict[Name, dict[str, Any]]

    @model_validator(mode="after")
    def _shards_that_are_streamed_are_packed(self) -> Dataset:
        if self.train.stream is not None and self.pack.in_place:
            raise ValueError(
                "train.stream is set but pack.in_place is true; pictures in place cannot be "
                "streamed: set train.stream to null, or pack.in_place to false"
            )
        return self


class Report(Settings):
    """The tables and the results page."""

    bootstrap: Resamples = 1000
    tsne_points: Annotated[int, Field(ge=50, lt=END)] = 1500
    tsne_perplexity: Annotated[float, Field(gt=1)] = 30.0
    examples: Count = 4
    """Retrievals shown a direction."""
    seed: Seed = 0
