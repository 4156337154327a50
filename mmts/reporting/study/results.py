"""What a study found, by dataset: its index, its records, and the answer to every test query."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.errors import InputError
from mmts.files import read_parquet
from mmts.kinds.measure import DIRECTIONS
from mmts.kinds.objective import quantity
from mmts.metrics.bootstrap import paired_interval
from mmts.metrics.longtail import parts_of_clusters
from mmts.metrics.recall import KS
from mmts.reporting.intervals import Interval
from mmts.study.index import REMEDY, Entry, Index, read_index
from mmts.study.plan import validation_rsum
from mmts.study.records import Records, unpacked
from mmts.study.settings import load_study

RESAMPLES = 1000
METRICS = tuple(f"{direction}/R@{k}" for direction in DIRECTIONS for k in KS)


@dataclass(frozen=True, eq=False)
class Tested:
    """A setting that was tested: a record a seed; none where the setting is unsound."""

    entry: Entry
    records: tuple[Mapping[str, Any], ...]
    levels: NDArray[np.uint8]
    """[S, Q], of `mmts.study.records`."""

    @property
    def seeds(self) -> list[int]:
        """Of its records."""
        return [record["seed"] for record in self.records]

    def with_seeds(self, seeds: Sequence[int]) -> Tested:
        """The same with some of its seeds."""
        at = [self.seeds.index(seed) for seed in seeds if seed in self.seeds]
        entry = replace(self.entry, keys=tuple(self.entry.keys[n] for n in at))
        return Tested(entry, tuple(self.records[n] for n in at), self.levels[at])


Terms = Sequence[tuple[int, Tested]]
"""Signs, and what they stand before."""


class StudyResults:
    """The results on one dataset.

    Attributes:
        index: what the records are records of.
        chosen: by method, in the order of the study.
        ablations: by name.
        trials: by method, each with its mean validation rsum in percent points.
        queries: a row a test query, in the order of the levels.
        records: by key.
    """

    def __init__(
        self, index: Index, records: Mapping[str, Mapping[str, Any]], queries: pd.DataFrame
    ) -> None:
        """`records` by key; all that the index names must be there."""
        self.dataset, self.index, self.queries = index.dataset, index, queries
        self.records = records
        self._found: dict[Any, Interval] = {}
        self.chosen = {entry.name: self._tested(entry) for entry in index.chosen}
        self.ablations = {
            name: [self._tested(entry) for entry in entries]
            for name, entries in index.ablations.items()
        }
        self.trials: dict[str, list[tuple[Entry, float]]] = {name: [] for name in self.chosen}
        for entry in index.trials:
            self.trials[entry.name].append((entry, validation_rsum(entry, records)))

    @cached_property
    def best_fixed(self) -> str:
        """Of info_nce and max_margin, the one whose chosen setting validates better."""
        return max(
            (name for name in ("info_nce", "max_margin") if name in self.chosen),
            key=lambda name: validation_rsum(self.chosen[name].entry, self.records),
        )

    def baseline_of(self, name: str) -> str:
        """The fixed row of the method's own kind: margins have max_margin, the others info_nce."""
        objective = self.chosen[name].records[0]["method"]["objective"]["kind"]
        margin = quantity(objective) == "margin" and "max_margin" in self.chosen
        return "max_margin" if margin else "info_nce"

    def values(self, tested: Tested, metric: str, part: str | None = None) -> list[float]:
        """One of `METRICS`, or rsum, in percent points, one a seed.

        `part` is head, medium or tail (see `parts`), or None for all queries.
        """
        if metric == "rsum":
            of_metrics = [self.values(tested, one, part) for one in METRICS]
            return [sum(of_seed) for of_seed in zip(*of_metrics, strict=True)]
        direction, _, k = metric.partition("/R@")
        rows = self._rows(tested, direction, part)
        hits = tested.levels[:, rows] <= KS.index(int(k))
        return [float(share) for share in 100 * hits.mean(axis=1)]

    def difference(self, method: Tested, baseline: Tested, part: str | None = None) -> Interval:
        """How much higher the rsum of `method` is, in percent points, paired by seed and query."""
        return self.contrast(((1, method), (-1, baseline)), part)

    def contrast(self, terms: Terms, part: str | None = None) -> Interval:
        """The signed sum of the terms' rsum, over the seeds that all have."""
        key = (*((sign, *tested.entry.keys) for sign, tested in terms), part)
        if key not in self._found:
            self._found[key] = self._contrast(terms, part)
        return self._found[key]

    def parts(self, tested: Tested) -> pd.Series[str]:
        """The part of each query: by its cluster, in the long-tail sweep by its class.

        Sizes there are those of the largest imbalance: a part has the same queries at each.
        """
        if "class_size" not in tested.records[0]:
            return self.queries["part"]
        return self.queries["class"].map(self._tail_parts)

    @cached_property
    def _tail_parts(self) -> dict[int, str]:
        drawn = [r for of in self.ablations.values() for t in of for r in t.records]
        widest = max((r for r in drawn if "class_size" in r), key=lambda r: float(r["imbalance"]))
        return parts_of_clusters(dict(enumerate(widest["class_size"])))

    def _tested(self, entry: Entry) -> Tested:
        records = tuple(self.records[key] for key in entry.keys)
        queries = len(self.queries)
        levels = [unpacked(record["levels"], queries) for record in records]
        return Tested(entry, records, np.array(levels, np.uint8).reshape(len(levels), queries))

    def _rows(self, tested: Tested, direction: str, part: str | None) -> NDArray[np.bool_]:
        rows = (self.queries["direction"] == direction).to_numpy()
        return rows if part is None else rows & (self.parts(tested) == part).to_numpy()

    def _contrast(self, terms: Terms, part: str | None) -> Interval:
        first, *others = (tested.seeds for _, tested in terms)
        seeds = [seed for seed in first if all(seed in of for of in others)]
        levels = [(sign, tested.with_seeds(seeds).levels) for sign, tested in terms]
        items = self.queries["item"].to_numpy()
        sums, counts = [], []
        for direction in DIRECTIONS:
            rows = self._rows(terms[0][1], direction, part)
            counts.append(np.bincount(items[rows], minlength=items.max() + 1))
            for level in range(len(KS)):
                gained = np.sum([sign * (of[:, rows] <= level) for sign, of in levels], axis=0)
                sums.append([np.bincount(items[rows], of, items.max() + 1) for of in gained])
        of_unit = np.stack(counts, axis=1).astype(float)
        kept = of_unit.any(axis=1)
        gains = np.moveaxis(np.array(sums), 0, 2)
        bounds = paired_interval(gains[:, kept], of_unit[kept], resamples=RESAMPLES, seed=0)
        return Interval(*(100 * bound for bound in bounds))


def load_results(folder: Path, dataset: str, aside: Collection[str] = ()) -> StudyResults:
    """The results on a dataset without those of methods that are set `aside`.

    Raises:
        InputError: a file or a record is missing.
    """
    index, records = read_index(folder, dataset).without(aside), Records(folder, dataset)
    queries = read_parquet(folder / f"{dataset}.parquet", REMEDY)
    tested = [*index.chosen, *(entry for of in index.ablations.values() for entry in of)]
    wanted = {key: "levels" for entry in tested for key in entry.keys}
    for key in sorted(index.keys()):
        if wanted.get(key, "validation") not in records.by_key.get(key, {}):
            raise InputError(
                f"{dataset} is left out of the study's report: {records.path} lacks "
                f"{'the test of ' if key in records.by_key else ''}cell {key}; {REMEDY}"
            )
    needed = {"info_nce", "info_nce_mmts"} - {entry.name for entry in index.chosen}
    if needed:
        raise InputError(
            f"{dataset} is left out of the study's report, which needs {sorted(needed)[0]}; name "
            f"it in `methods` of {folder / 'params.yaml'}, and not in `set_aside`"
        )
    return StudyResults(index, records.by_key, queries)


def load_studies(folder: Path) -> list[StudyResults]:
    """The results on each dataset with an index, without what is set aside.

    A dataset that lacks records is left out with a warning.
    """
    study = load_study(folder / "params.yaml")
    found = []
    for dataset in study.every_dataset:
        if study.aside(dataset) or not (folder / f"{dataset}.json").exists():
            continue
        try:
            found.append(load_results(folder, dataset, study.methods_aside(dataset)))
        except InputError as error:
            warnings.warn(str(error), stacklevel=2)
    return found
