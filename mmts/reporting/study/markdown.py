"""The report of a study as Markdown: `study.md`."""

from __future__ import annotations

from mmts.reporting.intervals import Interval
from mmts.reporting.markdown import escape, line
from mmts.reporting.study.cells import Cell, Mean, Table, Tried
from mmts.reporting.study.sections import Document
from mmts.reporting.words import bounds, signed

TITLE = "Do temperature and margin schedules help?"
BRACKETS = (
    "MM-TS: a temperature or margin that follows a cosine over the training (TS) and is shifted by "
    "the size of the caption's cluster (ICS). Numbers are differences of test rsum, the sum of "
    "R@1, R@5 and R@10 of both directions in percent (600 at most); in brackets are 95 % intervals "
    "over test items and seeds. Within the noise: the interval reaches zero."
)

ASIDE = "Set aside, and in no number, table or figure here until it is trained again:"


def markdown(document: Document) -> str:
    """The answer, the evidence, how it was done, and what was not tested."""
    lines = [f"# {TITLE}", ""]
    lines += [f"{number}. {escape(c.sentence)}" for number, c in enumerate(document.claims, 1)]
    lines += ["", BRACKETS, ""]
    lines += [f"- {escape(fact)}" for claim in document.claims for fact in claim.evidence]
    if document.set_aside:
        lines += ["", ASIDE, "", *(f"- {escape(told)}" for told in document.set_aside)]
    for section in document.sections:
        lines += ["", f"## {section.title}"]
        for text in section.text:
            lines += ["", escape(text)]
        for figure in section.figures:
            lines += ["", f"![{escape(figure.alt)}](<figures/{figure.name}.png>)", ""]
            lines += [escape(figure.caption)]
        for table in section.tables:
            lines += ["", f"**{escape(table.title)}**", "", *_table(table)]
        lines += ["", *(f"- {escape(note)}" for note in section.notes)] if section.notes else []
    for title, notes in (
        ("How it was done", document.method), ("What was not tested", document.untested)
    ):  # fmt: skip
        lines += ["", f"## {title}", "", *(f"- {escape(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    marks = ["---" if at < table.words else "---:" for at in range(len(table.head))]
    rows = [line([_cell(cell) for cell in row]) for row in table.rows]
    return [line([escape(name) for name in table.head]), line(marks), *rows]


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, Mean):
        return f"{cell.mean:.1f}" + ("" if cell.std is None else f" ± {cell.std:.1f}")
    if isinstance(cell, Interval):
        text = f"{signed(cell.value)} [{bounds(cell)}]"
        return f"**{text}**" if cell.clear else text
    if isinstance(cell, Tried):
        return (
            f"**{cell.rsum:.1f}**" if cell.chosen else f"{cell.rsum:.1f}"
        ) + f" ({cell.numbers})"
    return escape(cell)
