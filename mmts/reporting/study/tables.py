"""The tables of the chosen settings, of the trials and of what the pieces of MM-TS add."""

from __future__ import annotations

from statistics import mean

from mmts.metrics.longtail import PARTS
from mmts.reporting.study.cells import (
    FIXED,
    RECALLS,
    RSUM,
    Cell,
    Table,
    Tried,
    numbers_of,
    of_seeds,
    short,
    summary,
)
from mmts.reporting.study.rows import MAIN, Row, Rows, value_text


def main_table(rows: Rows) -> Table:
    """All methods with their chosen numbers, tested."""
    others = {row.name for row in rows.by_table[MAIN] if rows.own(row.name) != rows.best}
    head = ["method", "chosen", *RECALLS, f"Δ to {rows.best}"]
    head += ["Δ to own fixed"] if others else []
    head += ["validation rsum", "trials", "CPU min of trials", "CPU s a training"]
    lines = [_main_line(rows, row, others) for row in rows.by_table[MAIN]]
    return Table(f"{rows.dataset}: all test queries", tuple(head), tuple(lines), words=2)


def _main_line(rows: Rows, row: Row, others: set[str]) -> tuple[Cell, ...]:
    results, records = rows.results, row.tested.records
    own: list[Cell] = []
    if others:
        own = [(row.difference(results, "own") or FIXED) if row.name in others else None]
    tried = [key for entry, _ in results.trials[row.name] for key in entry.keys]
    return (
        row.name,
        numbers_of(row.tested),
        *(of_seeds(results, row.tested, metric) for metric in RECALLS),
        row.difference(results, "best") or FIXED,
        *own,
        summary([record["validation"]["val/rsum"] for record in records]),
        str(len(results.trials[row.name])),
        f"{sum(results.records[key]['cpu_seconds'] for key in tried) / 60:.1f}",
        f"{mean(record['cpu_seconds'] for record in records):.0f}",
    )


def parts_table(rows: Rows) -> Table:
    """Head, medium and tail queries of the chosen settings."""
    results = rows.results
    head = ("method", *PARTS, *(f"{part}: Δ to {rows.best}" for part in PARTS))
    lines = tuple(
        (
            row.name,
            *(of_seeds(results, row.tested, RSUM, part) for part in PARTS),
            *(row.difference(results, "best", part) or FIXED for part in PARTS),
        )
        for row in rows.by_table[MAIN]
    )
    return Table(f"{rows.dataset}: rsum of head, medium and tail queries", head, lines)


def effects_table(rows: Rows) -> Table:
    """What each piece of MM-TS adds, and what becomes of it with other shifts."""
    results = rows.results
    lines: list[tuple[Cell, ...]] = []
    for name in (name for name in rows.chosen if name.endswith("_mmts")):
        start, own = name.removesuffix("_mmts"), rows.own(name)
        asked = [
            (rows.chosen.get(f"{start}_ts"), "own", "TS instead of fixed", own),
            (rows.chosen.get(f"{start}_ics"), "own", "ICS instead of fixed", own),
            (rows.chosen[name], "own", "MM-TS instead of fixed", own),
            (rows.chosen[name], "ts", "MM-TS instead of TS", f"{start}_ts"),
        ]
        asked += [
            (row, "chosen", f"{row.tested.entry.varied['control']} shifts instead of by size", name)
            for row in rows.by_table.get("controls", [])
            if row.tested.entry.name == name and row.tested.entry.varied
        ]
        lines += [
            (label, base, of_seeds(results, row.tested), row.difference(results, to))
            for row, to, label, base in asked
            if row and to in row.contrasts
        ]
    head = ("what changes", "from", RSUM, "Δ rsum")
    return Table(f"{rows.dataset}: from one setting to the next", head, tuple(lines), words=2)


def components_table(rows: Rows) -> Table:
    """Table 4 of the paper: fixed, TS, ICS and MM-TS at one centre."""
    results = rows.results
    lines = tuple(
        (
            row.tested.entry.name,
            numbers_of(row.tested),
            *(of_seeds(results, row.tested, metric) for metric in RECALLS),
            row.difference(results, "own") or FIXED,
        )
        for row in rows.by_table["components"]
    )
    head = ("method", "numbers", *RECALLS, "Δ to fixed")
    return Table(f"{rows.dataset}: one centre for all, not tuned", head, lines, words=2)


def trials_table(rows: Rows) -> Table:
    """The validation rsum of every trial."""
    lines: list[tuple[Cell, ...]] = []
    for name, tried in rows.results.trials.items():
        chosen = rows.results.chosen[name].entry.changes
        every = dict.fromkeys(key for entry, _ in tried for key in entry.changes)
        keys = [k for k in every if len({str(entry.changes.get(k)) for entry, _ in tried}) > 1]
        constant = [f"{short(k)} {value_text(v)}" for k, v in chosen.items() if k not in keys]
        cells = [
            Tried(
                rsum,
                " / ".join(value_text(e.changes.get(k, "–")) for k in keys),
                e.changes == chosen,
            )
            for e, rsum in tried
        ]
        lines.append((name, "; ".join([" / ".join(map(short, keys)), *constant]), *cells))
    count = max(len(tried) for tried in rows.results.trials.values())
    head = ("method", "tried", *map(str, range(1, count + 1)))
    return Table(f"{rows.dataset}: validation rsum of each trial", head, tuple(lines), words=2)
