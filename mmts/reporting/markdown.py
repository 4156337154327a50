"""The results of one dataset as Markdown: numbers only, no captions and no pictures of it."""

from __future__ import annotations

from collections.abc import Sequence

from mmts.kinds.objective import label
from mmts.reporting.cells import Dataset
from mmts.reporting.comparison import PaperTable
from mmts.reporting.intervals import Interval
from mmts.reporting.style import Figure
from mmts.reporting.tables import Entry, Table
from mmts.reporting.words import bounds, notes, signed, stated, test_size


def markdown(
    dataset: Dataset,
    tables: Sequence[tuple[Table, ...]],
    figures: Sequence[Figure],
    *,
    resamples: int,
    papers: Sequence[PaperTable] = (),
) -> str:
    """The page `results/<dataset>.md`.

    `tables` has one entry a test source: its tables, the first of all queries. `papers` are the
    paper's tables to compare with.
    """
    lines = [f"# {escape(dataset.name)}", ""]
    for overall, *others in tables:
        found = stated(dataset, overall)
        if len(tables) > 1:
            lines += [f"## Test source {escape(overall.source)}", ""]
        lines += [
            f"{test_size(dataset, overall.source)}.",
            "",
            f"**{found.number}** {escape(found.text)}",
            "",
        ]
        for table in (overall, *others):
            lines += [f"**{escape(table.title)}**", "", *_table(table), ""]
    said = notes(dataset, resamples, names=dataset.publishable)
    lines += [f"- {escape(note)}" for note in said] + [""]
    for paper in papers:
        lines += [f"**{escape(paper.title)}**", "", *_paper(paper), ""]
    for figure in figures:
        file = f"figures/{dataset.name}-{figure.name}.png"
        lines += [f"![{escape(figure.alt)}](<{file}>)", "", escape(figure.caption), ""]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    short = {"text to vision": "t2v ", "vision to text": "v2t ", "all six": ""}
    names = [
        escape(short.get(group, f"{group} ") + label)
        for group, labels in table.groups
        for label in labels
    ]
    head = ["method", "objective", *names]
    head += [f"Δ {table.difference} [95 %]"] if table.difference else []
    lines = [line(head), line(["---", "---", *["---:"] * (len(head) - 2)])]
    for row in table.rows:
        about = [escape(row.method), f"{label(row.objective)}, {row.setting}"]
        gain = "baseline" if row.method == row.baseline else _gain(row.difference)
        gains = [gain] if table.difference else []
        lines.append(line([*about, *(_entry(entry) for entry in row.entries), *gains]))
    return lines


def _paper(table: PaperTable) -> list[str]:
    """Published and measured rows, then the notes."""
    backbone = ["backbone"] if table.backbones else []
    columns = [escape(f"{title} {label}") for title, labels in table.groups for label in labels]
    about = ["method", "numbers", *backbone]
    lines = [
        line([*about, *columns]), line(["---"] * len(about) + ["---:"] * len(columns))
    ]  # fmt: skip
    for row in table.rows:
        name = f"{row.label} ({row.method})" if row.method else row.label
        about = [name, row.kind] + ([row.backbone or "–"] if backbone else [])
        numbers = [
            f"{entry.text}{mark} {entry.spread}".rstrip()
            for entry, mark in zip(row.entries, row.marks, strict=True)
        ]
        lines.append(line([*map(escape, about), *numbers]))
    return [*lines, "", *(f"- {escape(note)}" for note in table.notes)]


def _entry(entry: Entry) -> str:
    text = f"**{entry.text}**" if entry.best else entry.text
    return f"{text} {entry.spread}".rstrip()


def _gain(difference: Interval | None) -> str:
    return f"{signed(difference.value)} [{bounds(difference)}]" if difference else "–"


def line(fields: Sequence[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(fields) + " |"


def escape(text: str) -> str:
    """The text with what Markdown would read as marks escaped."""
    for mark in "\\`*_[]|<":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.splitlines())
