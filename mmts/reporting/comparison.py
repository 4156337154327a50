"""The paper's tables for EPIC-KITCHENS-100: its numbers, and beside them what was measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmts.reporting.cells import Dataset
from mmts.reporting.measure import MULTI_INSTANCE
from mmts.reporting.published import (
    KEYS,
    TABLES,
    TEST_CLIPS,
    TEST_SENTENCES,
    TRAIN_CLIPS,
    Published,
    PublishedTable,
    Recipe,
    misprints,
)
from mmts.reporting.tables import Entry, entry
from mmts.reporting.words import COLUMN_NAMES, OBJECTIVES

SUPERSCRIPTS = "¹²³⁴⁵⁶⁷⁸⁹"


@dataclass(frozen=True)
class PaperRow:
    """A row of a paper's table, or what was measured for it.

    `kind` is published or measured; `method` is ours, empty where the grid has none; `marks` are
    the signs of the footnotes, one a number.
    """

    label: str
    backbone: str
    kind: str
    method: str
    entries: tuple[Entry, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper with measured rows below the published ones that they repeat."""

    title: str
    backbones: bool
    rows: tuple[PaperRow, ...]
    notes: tuple[str, ...]


def paper_tables(dataset: Dataset, source: str) -> tuple[PaperTable, ...]:
    """Tables 2, 4 and 5 for a source of kind ek100; none for another, or without mAP."""
    kinds = {about.name: about.kind for about in dataset.sources}
    if kinds.get(source) != "ek100" or dataset.measure is not MULTI_INSTANCE:
        return ()
    first, *others = (_table(dataset, source, table) for table in TABLES)
    return (replace(first, notes=(*first.notes, _sizes(dataset, source))), *others)


def method_of(dataset: Dataset, recipe: Recipe) -> str:
    """The first method of the grid that is trained by the recipe, or an empty string."""
    found = (m for m in dataset.methods if _fits(dataset.of(m)[0].run, dataset.columns, recipe))
    return next(found, "")


def _fits(run: Mapping[str, Any], columns: Mapping[str, str], recipe: Recipe) -> bool:
    ts, ics = run["alpha"] > 0, run["shift_min"] < run["shift_max"]
    used = run["clustering"]
    if run["modulator"] != "scheduled" or used["relevancy"] or run["objective"] != recipe.objective:
        return False
    if (ts, ics) != (recipe.ts, recipe.ics) or (ts and run["update_every"] != "step"):
        return False
    by_column = columns.get(used["shift"]) == recipe.column and run["shift_mapping"] == "linear"
    return by_column or not ics


def _table(dataset: Dataset, source: str, table: PublishedTable) -> PaperTable:
    rows: list[PaperRow] = []
    notes: list[str] = []
    for row in table.rows:
        marks = [""] * len(row.numbers)
        for at, text in misprints(row).items():
            marks[at] = SUPERSCRIPTS[len(notes)]
            notes.append(f"{marks[at]} {text}")
        numbers = tuple(Entry(number, None) for number in row.numbers)
        rows.append(PaperRow(row.label, row.backbone, "published", "", numbers, tuple(marks)))
        if row.recipe is not None:
            rows.append(_measured(dataset, source, row, row.recipe))
    title = f"Table {table.number} of the paper: {table.title}"
    return PaperTable(title, any(row.backbone for row in table.rows), tuple(rows), tuple(notes))


def _measured(dataset: Dataset, source: str, row: Published, recipe: Recipe) -> PaperRow:
    method = method_of(dataset, recipe)
    values = [dataset.values(method, source, key) if method else [] for key in KEYS]
    backbone = dataset.of(method)[0].vision if method and row.backbone else ""
    entries = tuple(entry(numbers) for numbers in values)
    return PaperRow(told(recipe), backbone, "measured", method, entries, ("",) * len(entries))


def told(recipe: Recipe) -> str:
    """A recipe in words: `max-margin, TS & ICS by noun`."""
    parts = " & ".join(name for name, on in (("TS", recipe.ts), ("ICS", recipe.ics)) if on)
    by = f" by {COLUMN_NAMES.get(recipe.column, recipe.column)}" if recipe.ics else ""
    return f"{OBJECTIVES[recipe.objective]}, {parts or 'baseline'}{by}"


def _sizes(dataset: Dataset, source: str) -> str:
    """What measured rows are, and whether they were trained and tested on what the paper has."""
    train = dataset.captions.query("split == 'train' and source == @source")["sample_id"].nunique()
    metrics = dataset.of(dataset.methods[0])[0].metrics[source]
    clips, sentences = (int(metrics[f"queries/{d}"]) for d in ("v2t", "t2v"))
    seeds = len(dataset.seeds)
    text = (
        "Measured, in all tables of the paper: the first method of the grid with the objective, "
        "the schedule and the shifts of the row above; "
        f"{'one seed' if seeds == 1 else f'mean ± standard deviation over {seeds} seeds'}. "
        f"Trained on {train:,} clips, tested on {clips:,} clips and {sentences:,} sentences."
    )
    if train != TRAIN_CLIPS:
        text += f" The official training file has {TRAIN_CLIPS:,} clips."
    if (clips, sentences) != (TEST_CLIPS, TEST_SENTENCES):
        text += (
            f" The official test has {TEST_CLIPS:,} clips and {TEST_SENTENCES:,} sentences: these "
            "numbers do not compare with the published ones."
        )
    return text
