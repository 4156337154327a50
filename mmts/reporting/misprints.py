"""The averages of the paper's tables that do not follow from their columns."""

from __future__ import annotations

from mmts.reporting.paper import Experiment, Published


def misprints(experiment: Experiment, row: Published) -> dict[int, str]:
    """The averages that do not follow from their columns: a sentence for each, by column.

    Rounding to one decimal explains 0.1 between a printed average and that of the printed columns:
    0.05 of the average and 0.05 of the columns.
    """
    found = {}
    for at, group in zip(range(2, len(row.numbers), 3), experiment.groups, strict=False):
        columns = [number for number in row.numbers[at - 2 : at + 1] if number is not None]
        if not group.averaged or len(columns) < 3:
            continue
        first, second, average = (round(10 * number) for number in columns)
        if abs(2 * average - (first + second)) > 2:
            text = (
                f"{row.label}: the paper prints {group.title} {group.labels[2]} "
                f"{columns[2]:.1f}; the mean of its columns is {(first + second) / 20:.2f}"
            )
            found[at] = f"{text.rstrip('0').rstrip('.')}{_elsewhere(experiment, row, at)}."
    return found


def _elsewhere(experiment: Experiment, row: Published, at: int) -> str:
    """Where the paper prints another column for the same method, so that the average follows."""
    names = [f"{group.title} {label}" for group in experiment.groups for label in group.labels]
    told = [
        f"; Table {table.number} prints {names[column]} {other.numbers[column]:.1f} for the same "
        f"method, not {row.numbers[column]:.1f}"
        for table in experiment.tables
        for other in table.rows
        for column in (at - 2, at - 1)
        if row.recipe is not None
        and other.recipe == row.recipe
        and other.numbers[at] == row.numbers[at]
        and other.numbers[column] != row.numbers[column]
    ]
    return "".join(told[-1:])
