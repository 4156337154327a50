"""What the report knows of a dataset and of the cells that the grid names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.kinds.measure import MeasureKind
from mmts.kinds.modulator import MODULATORS, ModulatorKind
from mmts.kinds.objective import OBJECTIVES, quantity
from mmts.kinds.rerank import RerankKind
from mmts.kinds.schedule import SCHEDULES, ScheduleKind
from mmts.kinds.shift import SHIFTS, ShiftKind

RERANK = "rerank/"
"""Start of keys of metrics.json, and of columns of queries.parquet, after re-ranking."""


@dataclass(frozen=True)
class Source:
    """One source of a dataset, and whether its captions and pictures may be published."""

    name: str
    kind: str
    publishable: bool
    credit: str
    coverage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """How many images of each split are listed and there, where the source counts them."""
    merged: int = 0
    """Pictures that were joined to an earlier one with the same bytes."""
    uncaptioned: Mapping[str, int] = field(default_factory=dict)
    """How many images of each split the source lists without a caption."""
    official: Mapping[str, int] = field(default_factory=dict)
    """Media items of each split of the published dataset, where the source knows them."""


@dataclass(frozen=True)
class Lacking:
    """Items of a split that lack a stream: how many, and the first of them."""

    items: int
    first: Sequence[str]


@dataclass(frozen=True)
class Clustering:
    """A named clustering, see `mmts.kinds.clustering`."""

    label: str
    """Its name on the page."""
    column: str = ""
    """The class column that it is by; empty where there is none."""
    published: bool = False
    """Whether it is the paper's."""
    noise: int = 0
    """Training captions that it put into no cluster."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One trained and evaluated model: a dataset, a method and a seed."""

    method: str
    seed: int
    run: Mapping[str, Any]
    curves: pd.DataFrame
    metrics: Mapping[str, Mapping[str, float]]
    queries: pd.DataFrame
    retrievals: Path
    vision: str
    """The vision tower's name."""
    measure: MeasureKind
    rerank: RerankKind | None = None
    """What metrics and queries under `rerank/` were scored by."""
    streams: Mapping[str, str] = field(default_factory=dict)
    """The kind of each stream beside the pictures or clips, by name."""
    sees: bool = True
    """Whether it reads the pictures or clips themselves."""

    @property
    def objective(self) -> str:
        """The objective the model was trained with, such as info_nce."""
        return str(self.run["objective"])

    @property
    def objective_words(self) -> str:
        """What the page says of the objective's numbers; empty for nothing."""
        numbers = self.run.get("objective_numbers", {})
        return str(OBJECTIVES.validated({"kind": self.objective, **numbers}).words)

    @property
    def terms(self) -> dict[str, float]:
        """The weights of the loss terms beside the objective, by kind."""
        return {name: float(term["weight"]) for name, term in self.run.get("terms", {}).items()}

    @property
    def term_columns(self) -> dict[str, str]:
        """The column of curves.csv that has each loss term, the objective among them."""
        if not self.terms:
            return {self.objective: "loss"}
        return {name: name for name in (self.objective, *self.terms)}

    @property
    def validated_columns(self) -> dict[str, str]:
        """The column of curves.csv that has each number of the validation split."""
        columns = {name: f"val_{name}" for name in self.measure.validated}
        return {name: column for name, column in columns.items() if column in self.curves}

    @property
    def modulator(self) -> type[ModulatorKind]:
        """What gave its tau."""
        return MODULATORS.load(self.run["modulator"])

    @property
    def schedule(self) -> ScheduleKind | None:
        """How its tau moved by the formula; None where that did not move."""
        return SCHEDULES.optional(self.run["schedule"]) if self.run["alpha"] > 0 else None

    @property
    def shift(self) -> ShiftKind | None:
        """What its shifts went by; None where all clusters had the same."""
        apart = self.run["shift_min"] < self.run["shift_max"]
        return SHIFTS.optional(self.run["shift"]) if apart else None

    def after_reranking(self) -> Cell:
        """Return the cell with the numbers that it has after re-ranking."""
        metrics = {
            source: {k.removeprefix(RERANK): v for k, v in of.items() if k.startswith(RERANK)}
            for source, of in self.metrics.items()
        }
        again = {f"{RERANK}{name}": name for name in self.measure.columns}
        queries = self.queries.drop(columns=list(self.measure.columns)).rename(columns=again)
        return replace(self, metrics=metrics, queries=queries, rerank=None)


@dataclass(frozen=True, eq=False)
class Dataset:
    """All that the report shows of one dataset.

    `captions` is captions.parquet with `cluster_id` and `cluster_size` of the default
    clustering and `vector`, the caption's row of `vectors` (a .npy file). `class_sizes` has, by
    column of the clusterings by one, the training rows of each class, the largest first.
    """

    name: str
    sources: tuple[Source, ...]
    captions: pd.DataFrame
    vectors: Path
    shards: Path
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    shifts: Mapping[str, pd.DataFrame]
    clusterings: Mapping[str, Clustering]
    class_sizes: Mapping[str, NDArray[np.int64]]
    unused: Mapping[str, int]
    """Rows of the sources that were dropped, and clips that were lost, by the kind of reason."""
    cells: Mapping[tuple[str, int], Cell]
    repeats: Sequence[Mapping[str, Any]] = ()
    """Held-out pictures with the bytes of another picture, see `mmts.captions.repeats`."""
    long_tail: Mapping[str, Any] = field(default_factory=dict)
    """What was drawn by classes, see `mmts.long_tail.draw`; empty where nothing was."""
    plans: Mapping[str, bytes] = field(default_factory=dict)
    """The plan of each method's training, see `mmts.plan`."""
    packed: Mapping[str, int] = field(default_factory=dict)
    """Media items of each split in the shards."""
    empty: Mapping[str, Mapping[str, Lacking]] = field(default_factory=dict)
    """Items without a stream, by stream and split."""
    reranked: str = ""
    """Of a dataset after re-ranking, what it was re-ranked by, in words."""

    @cached_property
    def views(self) -> tuple[Dataset, ...]:
        """The dataset, and where there is re-ranking the same one with the numbers after it."""
        rerank = self.of(self.methods[0])[0].rerank
        if rerank is None:
            return (self,)
        cells = {key: cell.after_reranking() for key, cell in self.cells.items()}
        words = f"the best {rerank.candidates:,} of each query by {rerank.label}"
        return self, replace(self, cells=cells, reranked=words)

    @property
    def measure(self) -> MeasureKind:
        """What its models were measured by."""
        return self.of(self.methods[0])[0].measure

    @property
    def publishable(self) -> bool:
        """Whether every source allows its captions and pictures to be published."""
        return all(source.publishable for source in self.sources)

    @property
    def test_sources(self) -> tuple[str, ...]:
        """The sources the models were evaluated on, in the order of metrics.json."""
        return tuple(self.of(self.methods[0])[0].metrics)

    def smaller_gallery(self, source: str) -> str:
        """Return what stands beside the numbers of a test on fewer items than the official ones."""
        official = {one.name: one.official for one in self.sources}[source].get("test", 0)
        queries = self.of(self.methods[0])[0].queries
        items = queries.loc[queries["source"] == source, "sample_id"].nunique()
        return f"gallery of {items:,} of {official:,} test items" if items < official else ""

    def of(self, method: str) -> list[Cell]:
        """The method's cells, one a seed."""
        return [self.cells[method, seed] for seed in self.seeds]

    def objective(self, method: str) -> str:
        """The method's objective."""
        return self.of(method)[0].objective

    def quantity(self, method: str) -> str:
        """What the method's objective takes as tau: temperature or margin."""
        return quantity(self.objective(method))

    def baseline(self, method: str) -> str:
        """The first method of the grid with the same quantity."""
        wanted = self.quantity(method)
        return next(other for other in self.methods if self.quantity(other) == wanted)

    def learned(self, method: str) -> bool:
        """Whether the method learns its tau, so that only the log knows it."""
        return self.of(method)[0].modulator.learned

    def has_both(self, method: str) -> bool:
        """Return whether the method has a schedule and shifts, as MM-TS has."""
        cell = self.of(method)[0]
        return not (cell.modulator.learned or cell.schedule is None or cell.shift is None)

    def leaves_out_alike(self, method: str) -> bool:
        """Whether pairs of captions of one cluster are no negatives in its training."""
        return bool(self.of(method)[0].run["clustering"]["relevancy"])

    def logged_tau(self, method: str) -> pd.DataFrame:
        """tau_min, tau_mean and tau_max of the logged batches by step, means over seeds."""
        columns = ["tau_min", "tau_mean", "tau_max"]
        logged = pd.concat([cell.curves.dropna(subset=columns) for cell in self.of(method)])
        return logged.groupby("step")[columns].mean()

    def percents(self, method: str, source: str, key: str) -> list[float]:
        """Return what `values` does, in percent points."""
        return [self.measure.to_percent(key) * value for value in self.values(method, source, key)]

    def values(self, method: str, source: str, key: str) -> list[float]:
        """One number of metrics.json a seed; empty if a seed lacks it."""
        found = [cell.metrics[source].get(key) for cell in self.of(method)]
        numbers = [float(value) for value in found if value is not None]
        return numbers if len(numbers) == len(found) else []
