"""How the training went: loss and validation rsum, a thin line a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmts.reporting.cells import Cell, Dataset
from mmts.reporting.style import Figure, canvas, headline, method_colours, method_legend, png
from mmts.reporting.words import OBJECTIVES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Curve = tuple[np.ndarray, np.ndarray]
_BINS = 60  # a longer loss curve is averaged in so many bins
_ROW = 3  # panels a row


def training_figure(dataset: Dataset) -> Figure:
    """Training loss of each objective and validation rsum over the epochs."""
    objectives = list(dict.fromkeys(dataset.objective(method) for method in dataset.methods))
    colours = method_colours(dataset)
    count = len(objectives) + 1
    with canvas(0.8 + 2.8 * -(-count // _ROW)) as figure:
        grid = panels(figure, count)
        of_objective: dict[str, Axes] = dict(zip(objectives, grid, strict=False))
        for method in dataset.methods:
            cells = dataset.of(method)
            _lines(of_objective[cells[0].objective], [_loss(c) for c in cells], colours[method])
            _lines(grid[-1], [_validation(c) for c in cells], colours[method])
        for objective, axes in of_objective.items():
            axes.set_title(f"{OBJECTIVES[objective]} loss")
        grid[-1].set_title("Validation rsum")
        for axes in grid:
            axes.set_xlabel("epoch")
            axes.margins(x=0.02)
            axes.tick_params(length=0)
        method_legend(figure, dataset)
        headline(figure, f"{dataset.name}: loss and validation over the training")
        data = png(figure)
    caption = (
        "A thin line a seed, a thick line their mean. Losses under different temperatures (or "
        "margins) have different scales and do not rank the methods; the validation rsum does."
    )
    return Figure("training", caption, _alt(dataset), data)


def panels(figure: Canvas, count: int) -> list[Axes]:
    """`count` empty panels in rows of _ROW."""
    grid = figure.subplots(-(-count // _ROW), min(count, _ROW), squeeze=False).flatten().tolist()
    for unused in grid[count:]:
        unused.remove()
    return list(grid[:count])


def _lines(axes: Axes, seeds: list[Curve], colour: str) -> None:
    """A thin line a seed, and a thick one for their mean where they were logged alike."""
    for x, y in seeds:
        axes.plot(x, y, color=colour, linewidth=0.7, alpha=0.5)
    if len({len(x) for x, _ in seeds}) == 1:
        mean = np.mean([y for _, y in seeds], axis=0)
        axes.plot(seeds[0][0], mean, color=colour, linewidth=1.9)


def _epochs(cell: Cell, steps: pd.Series) -> np.ndarray:
    return steps.to_numpy() / float(cell.run["total_steps"]) * float(cell.run["epochs"])


def _loss(cell: Cell) -> Curve:
    logged = cell.curves.dropna(subset=["loss"])
    x, y = _epochs(cell, logged["step"]), logged["loss"].to_numpy()
    if len(x) <= 2 * _BINS:
        return x, y
    parts = [(part.mean(), y[rows].mean()) for part, rows in _bins(x)]
    return np.array([p[0] for p in parts]), np.array([p[1] for p in parts])


def _bins(x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x[rows], rows) for rows in np.array_split(np.arange(len(x)), _BINS)]


def _validation(cell: Cell) -> Curve:
    measured = cell.curves.dropna(subset=["val_rsum"])
    return _epochs(cell, measured["step"]), 100 * measured["val_rsum"].to_numpy()


def _alt(dataset: Dataset) -> str:
    told = []
    for method in dataset.methods:
        losses = [_loss(cell)[1] for cell in dataset.of(method)]
        scores = [_validation(cell)[1] for cell in dataset.of(method)]
        text = f"{method}: loss"
        if all(len(loss) for loss in losses):
            first, last = (np.mean([loss[end] for loss in losses]) for end in (0, -1))
            text += f" from {first:.3g} to {last:.3g}"
        if all(len(score) for score in scores):
            text += f", validation rsum at the end {np.mean([s[-1] for s in scores]):.1f}"
        told.append(text)
    return "Training curves, means over seeds. " + "; ".join(told) + "."
