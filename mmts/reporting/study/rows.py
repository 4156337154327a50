"""The rows of a study's tables: what was tested, and what each of it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mmts.metrics.longtail import PARTS
from mmts.reporting.intervals import Interval
from mmts.reporting.study.results import StudyResults, Terms, Tested
from mmts.study.index import Entry
from mmts.study.plan import validation_rsum

MAIN, SWEEP = "main", "imbalance"
Parts = tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Contrast:
    """A signed sum of rsums, of all queries and of parts; `name` is what study.csv calls it."""

    name: str
    terms: Terms
    parts: Parts = (None,)


@dataclass(frozen=True, eq=False)
class Row:
    """A tested setting, as study.csv names it, and what it is compared with, by a short name."""

    name: str
    tested: Tested
    contrasts: dict[str, Contrast]

    def difference(
        self, results: StudyResults, to: str, part: str | None = None
    ) -> Interval | None:
        """One of its comparisons; None where it has it not."""
        found = self.contrasts.get(to)
        return results.contrast(found.terms, part) if found else None


class Rows:
    """All rows of a dataset, in order.

    Attributes:
        best: the better fixed row of the study, by validation. mmts: the better MM-TS row.
        chosen: by method, the rows of `main`.
        by_table: `main` has the chosen settings, the others are the ablations by name. A main
            row is compared with `best`, with the fixed row of its `own` objective and, where it
            is MM-TS, with `ts` and with the fixed number at its own `centre`. A row of an
            ablation is compared with the `chosen` setting of its method, and with `own`: the
            fixed row that was tested alike.
        fixed: fixed numbers that are tested whether or not they were chosen.
    """

    def __init__(self, results: StudyResults) -> None:
        self.results, self.dataset, self.best = results, results.dataset, results.best_fixed
        self.fixed = [t for t in results.ablations.get("fixed", ()) if t.records]
        self.mmts = self._better([name for name in results.chosen if name.endswith("_mmts")])
        self.chosen = {name: self._main(name) for name in results.chosen}
        self.by_table = {MAIN: list(self.chosen.values())}
        for ablation, entries in results.ablations.items():
            tested = [t for t in entries if t.records]
            if tested:
                make = {SWEEP: self._swept, "components": self._component}.get(ablation)
                self.by_table[ablation] = (
                    [make(t, tested) for t in tested] if make else self._around(ablation, tested)
                )

    def own(self, name: str) -> str:
        """See `StudyResults.baseline_of`."""
        return self.results.baseline_of(name)

    def _better(self, names: Sequence[str]) -> str:
        chosen, records = self.results.chosen, self.results.records
        return max(names, key=lambda name: validation_rsum(chosen[name].entry, records))

    def _main(self, name: str) -> Row:
        chosen, own = self.results.chosen, self.results.baseline_of(name)
        to = {"best": self.best, "own": own}
        if name.endswith("_mmts"):
            to["ts"] = name.removesuffix("_mmts") + "_ts"
        parts: Parts = (None, *PARTS)
        found = {
            key: _minus(
                other, chosen[name], chosen[other], parts if other == self.best else (None,)
            )
            for key, other in to.items()
            if other in chosen and other != name
        }
        for fixed in self.fixed if name.endswith("_mmts") else ():
            alike = fixed.entry.changes.get("centre") == chosen[name].entry.changes.get("centre")
            if fixed.entry.name == own and alike:
                found["centre"] = _minus(row_name("fixed", fixed.entry), chosen[name], fixed)
        return Row(name, chosen[name], found)

    def _around(self, ablation: str, of_all: Sequence[Tested]) -> list[Row]:
        """The rows of an ablation of chosen settings.

        Before those of a method stands its chosen setting with the seeds of the ablation, unless
        one of them is that.
        """
        rows = []
        for name, of_name in groupby(of_all, key=lambda tested: tested.entry.name):
            group, chosen = list(of_name), self.results.chosen[name]
            if not any(same_runs(tested, chosen) for tested in group):
                group.insert(0, chosen.with_seeds(group[0].seeds))
            rows += [self._varied(ablation, tested) for tested in group]
        return rows

    def _varied(self, ablation: str, tested: Tested) -> Row:
        name, chosen = tested.entry.name, self.results.chosen
        own = self.results.baseline_of(name)
        found = {"own": _minus(own, tested, chosen[own])} if name != own else {}
        if not same_runs(tested, chosen[name]):
            found["chosen"] = _minus(name, tested, chosen[name])
        return Row(row_name(ablation, tested.entry), tested, found)

    def _component(self, tested: Tested, of_all: Sequence[Tested]) -> Row:
        own = self.results.baseline_of(tested.entry.name)
        fixed = next((t for t in of_all if t.entry.name == own != tested.entry.name), None)
        found = {"own": _minus(row_name("components", fixed.entry), tested, fixed)} if fixed else {}
        return Row(row_name("components", tested.entry), tested, found)

    def _swept(self, tested: Tested, of_all: Sequence[Tested]) -> Row:
        """To the fixed row at the same imbalance; `growth` is since the smallest imbalance."""
        parts: Parts = (None, "tail")
        own = self.results.baseline_of(tested.entry.name)
        here = imbalance_of(tested)
        start = min(map(imbalance_of, of_all))
        by_place = {(t.entry.name, imbalance_of(t)): t for t in of_all}
        found = {}
        if tested.entry.name != own and (own, here) in by_place:
            fixed = by_place[own, here]
            name = row_name(SWEEP, fixed.entry)
            found["own"] = _minus(name, tested, fixed, parts)
            if here != start:
                less = [(-1, by_place[tested.entry.name, start]), (1, by_place[own, start])]
                found["growth"] = Contrast(
                    f"rsum minus {name}, growth since imbalance {start:g}",
                    [(1, tested), (-1, fixed), *less],
                    parts,
                )
        return Row(row_name(SWEEP, tested.entry), tested, found)


def _minus(name: str, tested: Tested, other: Tested, parts: Parts = (None,)) -> Contrast:
    return Contrast(f"rsum minus {name}", [(1, tested), (-1, other)], parts)


def same_runs(tested: Tested, chosen: Tested) -> bool:
    """Whether a row of an ablation is the chosen setting, with all or some of its seeds."""
    return set(tested.entry.keys) <= set(chosen.entry.keys)


def imbalance_of(tested: Tested) -> float:
    """Of a row of the long-tail sweep."""
    return float(tested.entry.varied[SWEEP])


def row_name(table: str, entry: Entry, *, trial: bool = False) -> str:
    """Such as `controls/info_nce_mmts/control=random`."""
    varied = entry.changes if trial else entry.varied
    values = [f"{key}={value_text(value)}" for key, value in varied.items()]
    name = "/".join([table, entry.name, *([" ".join(values)] if values else [])])
    return name.replace("–", "-")


def value_text(value: Any) -> str:
    """A setting's value: `0.02`, `0.02–0.04`, `random`."""
    if isinstance(value, list | tuple):
        return "–".join(map(value_text, value))
    return f"{value:g}" if isinstance(value, int | float) else str(value)
