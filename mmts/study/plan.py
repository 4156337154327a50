"""What a study trains: trials, the chosen settings of each method, and ablations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from mmts.errors import InputError
from mmts.study.cell import Base, Cell
from mmts.study.changes import over
from mmts.study.index import Entry, Index
from mmts.study.settings import Changes, Study, combinations

Records = Mapping[str, Mapping[str, Any]]
"""By key, what is kept of the cells; see `mmts.study.records`."""


class Plan:
    """The cells of one dataset. What depends on a choice is known when its trials are.

    Methods that are set aside on the dataset have none.

    Attributes:
        methods: of the study.
        base: the dataset.
        cells: by key, all that was asked for so far.
    """

    def __init__(
        self, study: Study, dataset: str, where: str, params: Path = Path("params.yaml")
    ) -> None:
        """
        Args:
            study: the settings.
            dataset: one of its datasets.
            where: name of the settings' file, for errors.
            params: the file that has the dataset and the methods.
        """
        self.study, self.dataset, self._where = study, dataset, where
        aside = study.methods_aside(dataset)
        self.methods = tuple(name for name in study.methods if name not in aside)
        self.base = Base(dataset, self.methods, study.tail, str(params))
        self.cells: dict[str, Cell] = {}

    def trials(self, name: str) -> list[Entry]:
        """Every setting that is tried of a method; InputError where two of them are one."""
        place, first = f"methods.{name}", dict[str, Changes]()
        entries = []
        for changes in self.study.methods[name].trials():
            entry = self._entry(name, changes, {}, self.study.seeds.trials, place)
            same = first.setdefault(entry.keys[0], changes)
            if same is not changes:
                raise InputError(
                    f"{self._where}: {place}.grids: {changes} trains as {same} does; change one, "
                    "for all methods get as many different trials"
                )
            entries.append(entry)
        return entries

    def chosen(self, name: str, records: Records) -> Entry | None:
        """The trial with the highest mean validation rsum, with the seeds of the results.

        The first of equal ones; None before all trials of the method are done.
        """
        trials = self.trials(name)
        if any(key not in records for trial in trials for key in trial.keys):
            return None
        best = max(trials, key=lambda trial: validation_rsum(trial, records))
        return self._entry(name, best.changes, {}, self.study.seeds.results, f"methods.{name}")

    def ablation(self, ablation: str, records: Records) -> list[Entry]:
        """The entries of an ablation whose methods are chosen."""
        settings = self.study.ablations[ablation]
        seeds = self.study.seeds.results if settings.all_seeds else self.study.seeds.ablations
        entries = []
        for name in (name for name in settings.methods if name in self.methods):
            chosen = self.chosen(name, records) if settings.tuned else None
            if settings.tuned and chosen is None:
                continue
            changes = chosen.changes if chosen else {}
            for varied in combinations(settings.grid):
                place = f"ablations.{ablation}"
                entries.append(self._entry(name, over(changes, varied), varied, seeds, place))
        return entries

    def index(self, records: Records) -> Index:
        """All of it, as far as it is known."""
        chosen = (self.chosen(name, records) for name in self.methods)
        return Index(
            self.dataset,
            tuple(trial for name in self.methods for trial in self.trials(name)),
            tuple(entry for entry in chosen if entry is not None),
            {name: tuple(self.ablation(name, records)) for name in self.study.ablations},
        )

    def missing(self, records: Records) -> dict[str, tuple[Cell, bool]]:
        """By key, each cell to train now and whether to test it: trials first, then the rest."""
        index = self.index(records)
        tested = [*index.chosen, *(entry for of in index.ablations.values() for entry in of)]
        trials = [key for trial in index.trials for key in trial.keys if key not in records]
        found = {key: (self.cells[key], False) for key in trials}
        for key in (key for entry in tested for key in entry.keys):
            if "test" not in records.get(key, {}):
                found[key] = (self.cells[key], True)
        return found

    def left(self, records: Records) -> int:
        """How many cells are not done; of methods that are not chosen yet as if the first were."""
        trials = [key for name in self.methods for t in self.trials(name) for key in t.keys]
        assumed = {key: {"validation": {"val/rsum": 0.0}} for key in trials}
        later = self.missing({**assumed, **records})
        return len({*later, *(key for key in trials if key not in records)})

    def _entry(
        self, name: str, changes: Changes, varied: Changes, seeds: tuple[int, ...], place: str
    ) -> Entry:
        if varied and self.base.unsound(name, changes, self._where, place):
            return Entry(name, changes, varied, ())
        cells = [self.base.cell(name, changes, seed, self._where, place) for seed in seeds]
        keys = [self.base.key(cell) for cell in cells]
        self.cells |= dict(zip(keys, cells, strict=True))
        return Entry(name, changes, varied, tuple(keys))


def validation_rsum(entry: Entry, records: Records) -> float:
    """Return the mean over the seeds, 0 to 600."""
    return float(mean(records[key]["validation"]["val/rsum"] for key in entry.keys))
