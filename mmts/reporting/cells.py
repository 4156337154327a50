"""Reads the artifacts of the cells that the grid names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.files import read_json, require
from mmts.kinds import quantity
from mmts.reporting.measure import Measure, measure_of


@dataclass(frozen=True)
class Source:
    """One source of a dataset, and whether its captions and pictures may be published."""

    name: str
    kind: str
    publishable: bool
    credit: str
    coverage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """How many images of each split are listed and there, where the source counts them."""


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

    @property
    def objective(self) -> str:
        """The objective the model was trained with, such as info_nce."""
        return str(self.run["objective"])


@dataclass(frozen=True, eq=False)
class Dataset:
    """All that the report shows of one dataset.

    `captions` is captions.parquet with `cluster_id` and `cluster_size` of the default
    clustering and `vector`, the caption's row of `vectors` (a .npy file). `columns`
    has the class column of each clustering by one; `class_sizes`, by column, the training rows of
    each class, the largest first.
    """

    name: str
    sources: tuple[Source, ...]
    captions: pd.DataFrame
    vectors: Path
    shards: Path
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    shifts: Mapping[str, pd.DataFrame]
    columns: Mapping[str, str]
    class_sizes: Mapping[str, NDArray[np.int64]]
    cells: Mapping[tuple[str, int], Cell]

    @property
    def measure(self) -> Measure:
        """What its models were measured by."""
        return measure_of(self.of(self.methods[0])[0].metrics[self.test_sources[0]])

    @property
    def publishable(self) -> bool:
        """Whether every source allows its captions and pictures to be published."""
        return all(source.publishable for source in self.sources)

    @property
    def test_sources(self) -> tuple[str, ...]:
        """The sources the models were evaluated on, in the order of metrics.json."""
        return tuple(self.of(self.methods[0])[0].metrics)

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
        return bool(self.of(method)[0].run["modulator"] != "scheduled")

    def leaves_out_alike(self, method: str) -> bool:
        """Whether pairs of captions of one cluster are no negatives in its training."""
        return bool(self.of(method)[0].run["clustering"]["relevancy"])

    def logged_tau(self, method: str) -> pd.DataFrame:
        """tau_min, tau_mean and tau_max of the logged batches by step, means over seeds."""
        columns = ["tau_min", "tau_mean", "tau_max"]
        logged = pd.concat([cell.curves.dropna(subset=columns) for cell in self.of(method)])
        return logged.groupby("step")[columns].mean()

    def values(self, method: str, source: str, key: str) -> list[float]:
        """One number of metrics.json a seed; empty if a seed lacks it."""
        found = [cell.metrics[source].get(key) for cell in self.of(method)]
        numbers = [float(value) for value in found if value is not None]
        return numbers if len(numbers) == len(found) else []


def load_dataset(data: Path, name: str, *, methods: Sequence[str], seeds: Sequence[int]) -> Dataset:
    """The dataset and the cells `methods` x `seeds`, read from the folder `data`.

    Raises InputError naming the first missing file, before anything is read.
    """
    keys = [(method, seed) for method in methods for seed in seeds]
    _check_files(data, name, methods, keys)
    cells = {key: _cell(data, name, *key) for key in keys}
    _check_sources(name, cells)
    summary = read_json(data / "captions" / name / "summary.json")
    sources = tuple(
        Source(
            source, str(about["kind"]), bool(about["publishable"]), str(about.get("credit") or ""),
            about.get("coverage", {}),
        )
        for source, about in summary["sources"].items()
    )  # fmt: skip
    columns = _class_columns(data / "cluster" / name)
    return Dataset(
        name=name,
        sources=sources,
        captions=_captions(data, name),
        vectors=data / "embed" / name / "text.npy",
        shards=data / "shards" / name,
        methods=tuple(methods),
        seeds=tuple(seeds),
        shifts={m: pd.read_parquet(data / "shift" / name / m / "shift.parquet") for m in methods},
        columns=columns,
        class_sizes=_class_sizes(data / "cluster" / name, columns),
        cells=cells,
    )


def _class_columns(folder: Path) -> dict[str, str]:
    """The class column of each clustering by one, by the clustering's name."""
    facts = {file.stem: read_json(file) for file in sorted(folder.glob("*.json"))}
    return {name: str(of["column"]) for name, of in facts.items() if of["kind"] == "column"}


def _class_sizes(folder: Path, columns: Mapping[str, str]) -> dict[str, NDArray[np.int64]]:
    """The training rows of each class, falling, by column: that with the fewest classes first."""
    found = {}
    for name, column in columns.items():
        if column not in found:
            table = pd.read_parquet(folder / f"{name}.parquet").drop_duplicates("cluster_id")
            sizes = np.sort(table["cluster_size"].to_numpy(dtype=np.int64))[::-1]
            found[column] = sizes[sizes > 0]
    return dict(sorted(found.items(), key=lambda item: len(item[1])))


def _check_files(
    data: Path, name: str, methods: Sequence[str], keys: Sequence[tuple[str, int]]
) -> None:
    files = [
        data / "captions" / name / "captions.parquet",
        data / "captions" / name / "summary.json",
        data / "embed" / name / "text.npy",
        data / "embed" / name / "caption_text.npy",
        data / "cluster" / name / "default.parquet",
        data / "shards" / name / "manifest.json",
    ]
    files += [data / "shift" / name / method / "shift.parquet" for method in methods]
    for method, seed in keys:
        trained = data / "train" / name / method / str(seed)
        evaluated = data / "evaluate" / name / method / str(seed)
        files += [trained / f for f in ("run.json", "model.json", "curves.csv")]
        files += [evaluated / f for f in ("metrics.json", "queries.parquet", "retrievals.json")]
    for file in files:
        require(file, "the grid names it: run `dvc repro`")


def _check_sources(name: str, cells: Mapping[tuple[str, int], Cell]) -> None:
    first = next(iter(cells.values()))
    for cell in cells.values():
        if list(cell.metrics) != list(first.metrics):
            raise InputError(
                f"{name}: {cell.method} seed {cell.seed} was evaluated on {list(cell.metrics)}, "
                f"{first.method} seed {first.seed} on {list(first.metrics)}; run dvc repro"
            )


def _cell(data: Path, name: str, method: str, seed: int) -> Cell:
    trained = data / "train" / name / method / str(seed)
    evaluated = data / "evaluate" / name / method / str(seed)
    return Cell(
        method=method,
        seed=seed,
        run=read_json(trained / "run.json"),
        curves=pd.read_csv(trained / "curves.csv"),
        metrics=read_json(evaluated / "metrics.json"),
        queries=pd.read_parquet(evaluated / "queries.parquet"),
        retrievals=evaluated / "retrievals.json",
        vision=str(read_json(trained / "model.json")["towers"]["vision"]["name"]),
    )


def _captions(data: Path, name: str) -> pd.DataFrame:
    captions = pd.read_parquet(data / "captions" / name / "captions.parquet")
    captions["vector"] = np.load(data / "embed" / name / "caption_text.npy")
    clusters = pd.read_parquet(data / "cluster" / name / "default.parquet")
    return captions.merge(clusters, on="caption_id", how="left", validate="one_to_one")
