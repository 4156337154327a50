"""What runs, and the report."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mmts.settings.base import (
    END,
    Count,
    Name,
    Resamples,
    Seed,
    Settings,
)


class Grid(Settings):
    """The cells of the experiment: datasets x methods x seeds."""

    datasets: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    """Names of entries of `datasets`."""
    methods: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)]
    """Names of entries of `methods`. A row of the results is compared with the first one that has a
    temperature too, or a margin."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, strict=False)]
    """Of the weights, the order of samples and dropout: a model each."""

    @model_validator(mode="after")
    def _no_repeats(self) -> Grid:
        for key in ("datasets", "methods", "seeds"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key} {list(values)} names one twice; every cell is run once")
        return self


class Report(Settings):
    """The tables and the results page."""

    bootstrap: Resamples = 1000
    """Resamples behind the interval of a difference."""
    tsne_points: Annotated[int, Field(ge=50, lt=END)] = 1500
    """Captions in the t-SNE picture."""
    tsne_perplexity: Annotated[float, Field(gt=1)] = 30.0
    examples: Count = 4
    """Retrievals shown a direction."""
    seed: Seed = 0
    """Of resamples, points and examples."""
