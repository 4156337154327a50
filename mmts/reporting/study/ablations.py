"""The tables of what was varied around the chosen settings."""

from __future__ import annotations

from mmts.reporting.study.cells import FIXED, RSUM, Cell, Table, of_seeds, short
from mmts.reporting.study.rows import SWEEP, Row, Rows, imbalance_of, same_runs, value_text

FIXED_TITLE = "fixed temperatures, whichever the trials chose"
TITLES = {
    "controls": "shifts that do not follow the sizes of the clusters",
    "clustering_seeds": "other seeds of K-Means",
    "features": "clusters of other features",
    "k": "number of clusters",
    "oscillations": "oscillations of the schedule",
    "mapping": "from size to shift",
}
"""Of the ablations with a table of `varied_table`, in their order."""
CHOSEN = "as chosen"


def varied_table(rows: Rows, ablation: str) -> Table:
    """Chosen settings as they are, and with something else."""
    results = rows.results
    lines: list[tuple[Cell, ...]] = []
    for row in rows.by_table[ablation]:
        name = row.tested.entry.name
        changes = (f"{short(k)} {value_text(v)}" for k, v in row.tested.entry.varied.items())
        numbers = (
            of_seeds(results, row.tested),
            _to_chosen(rows, row),
            row.difference(results, "own"),
        )
        lines.append((name, ", ".join(changes) or CHOSEN, *numbers))
    head = ("method", "varied", RSUM, "Δ to chosen", "Δ to own fixed")
    title = TITLES.get(ablation, FIXED_TITLE)
    return Table(f"{rows.dataset}: {title}", head, tuple(lines), words=2)


def fixed_table(rows: Rows) -> Table:
    """Fixed temperatures that are tested whether or not they were chosen."""
    return varied_table(rows, "fixed")


def ranges_table(rows: Rows) -> Table:
    """Table 8 of the paper: shift range x alpha; a dash where tau would reach 0."""
    results = rows.results
    found = {row.tested.entry.keys: row for row in rows.by_table["ranges"]}
    lines: list[tuple[Cell, ...]] = []
    base = [row.tested for row in found.values() if not row.tested.entry.varied]
    for tested in (*base, *results.ablations["ranges"]):
        varied, row = tested.entry.varied, found.get(tested.entry.keys)
        about = [value_text(varied[key]) for key in ("shifts", "alpha")] if varied else [CHOSEN, ""]
        numbers: tuple[Cell, ...] = (None, None, None)
        if row is not None:
            gains = _to_chosen(rows, row), row.difference(results, "own")
            numbers = of_seeds(results, tested), *gains
        lines.append((*about, *numbers))
    name = results.ablations["ranges"][0].entry.name
    head = ("shifts", "alpha", RSUM, f"Δ to chosen {name}", f"Δ to {rows.own(name)}")
    return Table(f"{rows.dataset}: shift range and alpha", head, tuple(lines), words=2)


def _to_chosen(rows: Rows, row: Row) -> Cell:
    same = same_runs(row.tested, rows.results.chosen[row.tested.entry.name])
    return CHOSEN if same else row.difference(rows.results, "chosen")


def sweep_table(rows: Rows) -> Table:
    """The long-tail sweep, the smallest imbalance first."""
    results = rows.results
    lines: list[tuple[Cell, ...]] = []
    for row in sorted(rows.by_table[SWEEP], key=lambda row: imbalance_of(row.tested)):
        name, sizes = row.tested.entry.name, row.tested.records[0]["class_size"]
        ends = value_text(list(dict.fromkeys((max(sizes), min(sizes)))))
        cells: list[Cell] = [value_text(imbalance_of(row.tested)), ends, name]
        for part in (None, "tail"):
            gain: Cell = row.difference(results, "own", part)
            cells.append(of_seeds(results, row.tested, RSUM, part))
            cells.append(FIXED if name == rows.own(name) else gain)
            cells.append(row.difference(results, "growth", part))
        lines.append(tuple(cells))
    head = (
        "imbalance", "items a class", "method", RSUM, "Δ to fixed", "growth of Δ",
        "tail rsum", "tail: Δ to fixed", "tail: growth of Δ",
    )  # fmt: skip
    return Table(f"{rows.dataset}: long-tailed training splits", head, tuple(lines), words=3)
