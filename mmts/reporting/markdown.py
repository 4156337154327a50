"""The results of one dataset as Markdown: numbers only, no captions and no pictures of it."""

from __future__ import annotations

from collections.abc import Sequence

from mmts.reporting.cells import Dataset
from mmts.reporting.intervals import Interval
from mmts.reporting.style import Figure
from mmts.reporting.tables import Entry, Table, best_row
from mmts.reporting.words import OBJECTIVES, bounds, capital, notes, signed, test_size, verdict


def markdown(
    dataset: Dataset,
    tables: Sequence[tuple[Table, Table]],
    figures: Sequence[Figure],
    *,
    resamples: int,
) -> str:
    """The page `results/<dataset>.md`: a pair of tables (overall, by part) a test source."""
    lines = [f"# {_escape(dataset.name)}", ""]
    for overall, by_part in tables:
        best = best_row(overall)
        told = f"rsum {best.entries[-1].text}. {_escape(capital(verdict(best)))}"
        if len(tables) > 1:
            lines += [f"## Test source {_escape(overall.source)}", ""]
        lines += [
            f"{test_size(dataset, overall.source)}.",
            "",
            f"Best: **{_escape(best.method)}**, {told}",
            "",
        ]
        for table in (overall, by_part):
            lines += [f"**{table.title}**", "", *_table(table), ""]
    lines += [f"- {_escape(note)}" for note in notes(dataset, resamples)] + [""]
    for figure in figures:
        file = f"figures/{dataset.name}-{figure.name}.png"
        lines += [f"![{_escape(figure.alt)}](<{file}>)", "", _escape(figure.caption), ""]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    short = {"text to vision": "t2v ", "vision to text": "v2t ", "all six": ""}
    names = [
        short.get(group, f"{group} ") + label for group, labels in table.groups for label in labels
    ]
    head = ["method", "objective", *names, f"Δ {table.difference} [95 %]"]
    lines = [_line(head), _line(["---", "---", *["---:"] * (len(head) - 2)])]
    for row in table.rows:
        about = [_escape(row.method), f"{OBJECTIVES[row.objective]}, {row.setting}"]
        gain = "baseline" if row.method == row.baseline else _gain(row.difference)
        lines.append(_line([*about, *(_entry(entry) for entry in row.entries), gain]))
    return lines


def _entry(entry: Entry) -> str:
    text = f"**{entry.text}**" if entry.best else entry.text
    return f"{text} ± {entry.spread}"


def _gain(difference: Interval | None) -> str:
    return f"{signed(difference.value)} [{bounds(difference)}]" if difference else "–"


def _line(fields: Sequence[str]) -> str:
    return "| " + " | ".join(fields) + " |"


def _escape(text: str) -> str:
    for mark in "\\`*_[]|<":
        text = text.replace(mark, f"\\{mark}")
    return text
