"""How the training went: loss and validation, a thin line a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmts.kinds.objective import label
from mmts.kinds.term import TERMS
from mmts.reporting.cells import Cell, Dataset
from mmts.reporting.style import Figure, canvas, headline, method_colours, method_legend, png
from mmts.reporting.words import capital

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Curve = tuple[np.ndarray, np.ndarray]
_BINS = 60  # a longer loss curve is averaged in so many bins
_ROW = 3  # panels a row


def training_figure(dataset: Dataset) -> Figure:
    """Each loss term in training, and what was measured in validation, over the epochs."""
    titles = term_titles(dataset)
    colours = method_colours(dataset)
    curves = [c for c in dataset.measure.curves if _measured(dataset, c[1])]
    count = len(titles) + len(curves)
    with canvas(0.8 + 2.8 * -(-count // _ROW)) as figure:
        grid = panels(figure, count)
        of_term: dict[str, Axes] = dict(zip(titles, grid, strict=False))
        for method in dataset.methods:
            cells = dataset.of(method)
            for term, column in cells[0].term_columns.items():
                _lines(of_term[term], [_logged(c, column) for c in cells], colours[method])
            for curve, axes in zip(curves, grid[len(titles) :], strict=True):
                _lines(axes, [_validation(c, *curve) for c in cells], colours[method])
        for term, axes in of_term.items():
            axes.set_title(titles[term])
        for (name, _), axes in zip(curves, grid[len(titles) :], strict=True):
            axes.set_title(f"Validation {name}")
        for axes in grid:
            axes.set_xlabel("epoch")
            axes.margins(x=0.02)
            axes.tick_params(length=0)
        method_legend(figure, dataset)
        headline(figure, f"{dataset.name}: loss and validation over the training")
        data = png(figure)
    return Figure("training", _caption([name for name, _ in curves]), _alt(dataset, curves), data)


def term_titles(dataset: Dataset) -> dict[str, str]:
    """Return a title for each objective of the dataset's methods, then for each further term."""
    cells = [dataset.of(method)[0] for method in dataset.methods]
    objectives = {cell.objective: f"{label(cell.objective)} loss" for cell in cells}
    terms = dict.fromkeys(name for cell in cells for name in cell.terms)
    return objectives | {name: f"{capital(TERMS.load(name).label)} term" for name in terms}


def _caption(names: list[str]) -> str:
    judge = f"the validation {' and '.join(names)} {'do' if len(names) > 1 else 'does'}"
    return (
        "A thin line a seed, a thick line their mean. Losses under different temperatures (or "
        "margins) have different scales and do not rank the methods; "
        f"{judge if names else 'there was no validation'}."
    )


def panels(figure: Canvas, count: int) -> list[Axes]:
    """`count` empty panels in as few rows as _ROW allows, of about one length."""
    rows = -(-count // _ROW)
    grid = figure.subplots(rows, -(-count // rows), squeeze=False).flatten().tolist()
    for unused in grid[count:]:
        unused.remove()
    return list(grid[:count])


def _lines(axes: Axes, seeds: list[Curve], colour: str) -> None:
    """A thin line a seed, and a thick one for their mean where they were logged alike."""
    for x, y in seeds:
        mark = "o" if len(x) == 1 else ""  # no line has one point
        axes.plot(x, y, color=colour, linewidth=0.7, alpha=0.5, marker=mark, markersize=4)
    if len({len(x) for x, _ in seeds}) == 1:
        mean = np.mean([y for _, y in seeds], axis=0)
        axes.plot(seeds[0][0], mean, color=colour, linewidth=1.9)


def _epochs(cell: Cell, steps: pd.Series) -> np.ndarray:
    return steps.to_numpy() / float(cell.run["total_steps"]) * float(cell.run["epochs"])


def _logged(cell: Cell, column: str) -> Curve:
    logged = cell.curves.dropna(subset=[column])
    x, y = _epochs(cell, logged["step"]), logged[column].to_numpy()
    if len(x) <= 2 * _BINS:
        return x, y
    parts = [(part.mean(), y[rows].mean()) for part, rows in _bins(x)]
    return np.array([p[0] for p in parts]), np.array([p[1] for p in parts])


def _bins(x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x[rows], rows) for rows in np.array_split(np.arange(len(x)), _BINS)]


def _measured(dataset: Dataset, column: str) -> bool:
    """Whether any cell has a value in the column; without a validation split none has."""
    return any(
        column in c.curves and c.curves[column].notna().any() for c in dataset.cells.values()
    )


def _validation(cell: Cell, name: str, column: str) -> Curve:
    measured = cell.curves.dropna(subset=[column])
    percent = cell.measure.to_percent(cell.measure.validated[name])
    return _epochs(cell, measured["step"]), percent * measured[column].to_numpy()


def _alt(dataset: Dataset, curves: list[tuple[str, str]]) -> str:
    told = []
    for method in dataset.methods:
        text = f"{method}:"
        terms = dataset.of(method)[0].terms
        columns = {"loss": "loss"} | {TERMS.load(term).label: term for term in terms}
        for number, (name, column) in enumerate(columns.items()):
            text += f"{',' if number else ''} {name}"
            losses = [_logged(cell, column)[1] for cell in dataset.of(method)]
            if all(len(loss) for loss in losses):
                first, last = (np.mean([loss[end] for loss in losses]) for end in (0, -1))
                text += f" from {first:.3g} to {last:.3g}"
        for name, column in curves:
            scores = [_validation(cell, name, column)[1] for cell in dataset.of(method)]
            if all(len(score) for score in scores):
                text += f", validation {name} at the end {np.mean([s[-1] for s in scores]):.1f}"
        told.append(text)
    return "Training curves, means over seeds. " + "; ".join(told) + "."
