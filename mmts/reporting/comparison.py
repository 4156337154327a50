"""The paper's tables: its numbers, and beside them what was measured here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from mmts.kinds.objective import label as label_of
from mmts.reporting.cells import Cell, Clustering, Dataset
from mmts.reporting.comparison_notes import further_notes, how_measured
from mmts.reporting.misprints import misprints
from mmts.reporting.paper import Experiment, Group, PublishedTable, Recipe
from mmts.reporting.published import EXPERIMENTS
from mmts.reporting.tables import Entry, entry, setting
from mmts.reporting.words import COLUMN_NAMES

SUPERSCRIPTS = "¹²³⁴⁵⁶⁷⁸⁹"


@dataclass(frozen=True)
class PaperRow:
    """A row of a paper's table, or what was measured for it.

    `kind` is published or measured; `method` is ours, or how many it is of; empty where the grid
    has none; `marks` are the signs of the footnotes, one a number; `further` rows repeat no
    published one.
    """

    label: str
    backbone: str
    kind: str
    method: str
    entries: tuple[Entry, ...]
    marks: tuple[str, ...]
    further: bool = False


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper with measured rows below the published ones that they repeat.

    `groups` has titles of columns, each with the labels of its columns.
    """

    title: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    backbones: bool
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...]

    @property
    def firsts(self) -> set[int]:
        """The first column of each group."""
        sizes = [len(labels) for _, labels in self.groups]
        return {sum(sizes[:n]) for n in range(len(sizes))}


def paper_tables(dataset: Dataset) -> tuple[PaperTable, ...]:
    """The tables of the paper with what was trained and tested on the dataset's sources."""
    found: list[PaperTable] = []
    for experiment in EXPERIMENTS:
        tests = tests_of(dataset, experiment)
        if tests:
            first, *others = (_table(dataset, experiment, tests, t) for t in experiment.tables)
            how = how_measured(dataset, experiment, tests)
            notes = (*first.notes, how, *further_notes(dataset, experiment))
            found += [replace(first, notes=notes), *others]
    return tuple(found)


def tests_of(dataset: Dataset, experiment: Experiment) -> dict[str, str]:
    """The first test source of each kind that the experiment tests on; {} for other datasets."""
    train = set(dataset.captions.loc[dataset.captions["split"] == "train", "source"].unique())
    kinds = {about.name: about.kind for about in dataset.sources}
    if experiment.train not in {kinds[source] for source in train}:
        return {}
    found: dict[str, str] = {}
    for group in experiment.groups:
        for source, metrics in dataset.of(dataset.methods[0])[0].metrics.items():
            if kinds[source] == group.kind and group.keys[0][0] in metrics:
                found.setdefault(group.kind, source)
    return found


def method_of(dataset: Dataset, recipe: Recipe, streams: Sequence[str] = ()) -> str:
    """The first of `methods_of`, or an empty string."""
    return next(iter(methods_of(dataset, recipe, streams)), "")


def methods_of(dataset: Dataset, recipe: Recipe, streams: Sequence[str] = ()) -> list[str]:
    """The methods of the grid that are trained by the recipe.

    Their models may read `streams` beside pictures or clips, and no others.
    """
    return [
        method
        for method in dataset.methods
        for cell in dataset.of(method)[:1]
        if set(cell.streams) <= set(streams)
        and _loss_fits(cell, recipe)
        and _tau_fits(cell, dataset.clusterings, recipe)
    ]


def _loss_fits(cell: Cell, recipe: Recipe) -> bool:
    """Whether the loss is the recipe's, whatever its tau; VAST's has gradients to anchors alone."""
    numbers = cell.run.get("objective_numbers", {})
    return (
        cell.objective == recipe.objective
        and not cell.run["clustering"]["relevancy"]
        and tuple(cell.terms.items()) == recipe.terms
        and numbers.get("label_smoothing", 0.0) == recipe.smoothing
        and (bool(recipe.terms) or not numbers.get("anchors_only", False))
    )


def _tau_fits(cell: Cell, clusterings: Mapping[str, Clustering], recipe: Recipe) -> bool:
    schedule, shift = cell.schedule, cell.shift
    if cell.run["modulator"] != ("learnable" if recipe.learned else "scheduled"):
        return False
    if (schedule is not None, shift is not None) != (recipe.ts, recipe.ics):
        return False
    if schedule is not None and not schedule.paper:
        return False
    of = clusterings.get(cell.run["clustering"]["shift"])
    same = of is not None and of.column == recipe.column and _made_alike(of, recipe)
    return shift is None or (shift.paper and same)


def _made_alike(clustering: Clustering, recipe: Recipe) -> bool:
    if not recipe.clusters:
        return clustering.published
    return clustering.label == f"K-Means of {recipe.clusters}"


def _table(
    dataset: Dataset, experiment: Experiment, tests: Mapping[str, str], table: PublishedTable
) -> PaperTable:
    rows: list[PaperRow] = []
    notes: list[str] = []
    columns = experiment.columns(table)
    backbones = any(row.backbone for row in table.rows)
    for row in table.rows:
        marks = [""] * len(row.numbers)
        for at, text in misprints(experiment, row).items():
            marks[at] = SUPERSCRIPTS[len(notes)]
            notes.append(f"{marks[at]} {text}")
        numbers = tuple(Entry(number, None) for number in row.numbers)
        rows.append(PaperRow(row.label, row.backbone, "published", "", numbers, tuple(marks)))
        if row.recipe is not None:
            method = method_of(dataset, row.recipe, experiment.streams)
            backbone, numbers = bool(row.backbone), tuple(_entries(dataset, columns, tests, method))
            rows.append(_measured(dataset, told(row.recipe), method, numbers, backbone))
    shown = {row.method for row in rows}
    for method in dataset.methods if experiment.further else ():
        if method not in shown:
            label = f"{label_of(dataset.objective(method))}, {setting(dataset, method)}"
            numbers = tuple(_entries(dataset, columns, tests, method))
            measured = _measured(dataset, label, method, numbers, backbones)
            rows.append(replace(measured, further=True))
    groups = tuple((group.title, group.labels) for group in columns)
    title = f"Table {table.number} of the paper: {table.title}"
    return PaperTable(title, groups, backbones, tuple(rows), (*notes, *table.notes))


def _measured(
    dataset: Dataset, label: str, method: str, entries: tuple[Entry, ...], backbone: bool
) -> PaperRow:
    vision = dataset.of(method)[0].vision if method and backbone else ""
    return PaperRow(label, vision, "measured", method, entries, ("",) * len(entries))


def _entries(
    dataset: Dataset, columns: Sequence[Group], tests: Mapping[str, str], method: str
) -> Iterator[Entry]:
    """The numbers of a method in the columns; dashes without a method or a test source."""
    for group in columns:
        for keys in group.keys:
            known = bool(method) and group.kind in tests
            values = [dataset.percents(method, tests[group.kind], key) for key in keys if known]
            yield entry([mean(of_seed) for of_seed in zip(*values, strict=True)])


def told(recipe: Recipe) -> str:
    """A recipe in words: `max-margin, TS & ICS by noun`."""
    parts = " & ".join(name for name, on in (("TS", recipe.ts), ("ICS", recipe.ics)) if on)
    named = COLUMN_NAMES.get(recipe.column, recipe.column) or "cluster of K-Means"
    by = f"cluster of {recipe.clusters}" if recipe.clusters else named
    plain = "learned temperature" if recipe.learned else "baseline"
    return f"{label_of(recipe.objective)}, {parts or plain}{f' by {by}' * recipe.ics}"
