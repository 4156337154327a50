"""The parts of a study's report, in order: what the Markdown and the page show alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mmts.reporting.study.ablations import (
    TITLES,
    fixed_table,
    ranges_table,
    sweep_table,
    varied_table,
)
from mmts.reporting.study.answer import Claim, answer
from mmts.reporting.study.cells import Table
from mmts.reporting.study.how import method, untested
from mmts.reporting.study.notes import (
    COMPONENTS,
    EFFECTS,
    GROWTH,
    RANGES,
    TRIED,
    UNITS,
    VARIED,
    chance,
    edges,
    names,
)
from mmts.reporting.study.rows import MAIN, SWEEP, Rows
from mmts.reporting.study.tables import (
    components_table,
    effects_table,
    main_table,
    parts_table,
    trials_table,
)
from mmts.reporting.style import Figure
from mmts.study.settings import Study


@dataclass(frozen=True)
class Section:
    """A heading, what it says, its figures and tables, and notes below them."""

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """The report of a study."""

    claims: tuple[Claim, ...]
    set_aside: tuple[str, ...]
    """What the report leaves out, and why: a sentence each."""
    sections: tuple[Section, ...]
    method: tuple[str, ...]
    untested: tuple[str, ...]


def document(studies: Sequence[Rows], study: Study, figures: Sequence[Figure]) -> Document:
    """All that is shown of the datasets."""
    by_name = {figure.name.removeprefix("study-"): figure for figure in figures}
    sections = [
        replace(section, figures=(by_name[name],) if name in by_name else ())
        for name, section in _sections(studies).items()
        if section.tables
    ]
    return Document(
        tuple(answer(studies)), tuple(aside.told() for aside in study.set_aside), tuple(sections),
        tuple(method(studies, study)), tuple(untested(studies, study)),
    )  # fmt: skip


def _sections(studies: Sequence[Rows]) -> dict[str, Section]:
    """By the name of their figure."""

    def of(ablation: str, table: Callable[[Rows], Table]) -> tuple[Table, ...]:
        return tuple(table(rows) for rows in studies if ablation in rows.by_table)

    notes = [*map(chance, studies), *(line for rows in studies for line in edges(rows))]
    varied = [
        varied_table(rows, ablation)
        for ablation in TITLES
        for rows in studies
        if ablation in rows.by_table
    ]
    return {
        "differences": Section(
            "All methods, tuned alike", (UNITS, names(studies)), tables=of(MAIN, main_table),
            notes=tuple(notes),
        ),
        "parts": Section("Head, medium and tail", tables=of(MAIN, parts_table)),
        "effects": Section("What each piece adds", (EFFECTS,), tables=of(MAIN, effects_table)),
        "trials": Section(
            "Trials", (TRIED,), tables=(*of(MAIN, trials_table), *of("fixed", fixed_table))
        ),
        "components": Section(
            "Components at one centre", (COMPONENTS,), tables=of("components", components_table)
        ),
        "ranges": Section("Shift range and alpha", (RANGES,), tables=of("ranges", ranges_table)),
        "ablations": Section("Clusters, shifts and schedule", (VARIED,), tables=tuple(varied)),
        "tail": Section("Growing imbalance", (GROWTH,), tables=of(SWEEP, sweep_table)),
    }  # fmt: skip
