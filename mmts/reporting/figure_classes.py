"""How often each class occurs in the training rows (Fig. 9)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmts.reporting.cells import Dataset
from mmts.reporting.style import Figure, canvas, headline, png
from mmts.reporting.words import COLUMN_NAMES, capital, plural

_SHADE = "#4292c6"
_ROW = 3  # panels a row


def classes_figure(dataset: Dataset) -> Figure | None:
    """Training rows of each class, a panel a class column; None with fewer than two columns."""
    found = dataset.class_sizes
    if len(found) < 2:
        return None
    rows = -(-len(found) // _ROW)
    top = max(int(sizes[0]) for sizes in found.values())
    with canvas(0.7 + 2.5 * rows) as figure:
        grid = figure.subplots(rows, min(len(found), _ROW), squeeze=False, sharey=True)
        for axes, (column, sizes) in zip(grid.flat, found.items(), strict=False):
            edges = np.arange(len(sizes) + 1) + 0.5
            axes.stairs(sizes, edges, fill=True, baseline=0.5, color=_SHADE)
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set(xlim=(0.5, edges[-1]), ylim=(0.5, 1.6 * top))
            axes.tick_params(length=0, which="both", labelleft=True)
            axes.set_title(f"{capital(_name(column))}: {plural(len(sizes), 'class')}")
            axes.set_xlabel("class, sorted by size")
        for axes in grid[:, 0]:
            axes.set_ylabel("training captions")
        for axes in grid.flat[len(found) :]:
            axes.remove()
        headline(figure, f"{dataset.name}: how often each class occurs")
        data = png(figure)
    caption = "Training captions of each class, the largest class first, on a logarithmic scale."
    alt = "; ".join(_told(column, sizes) for column, sizes in found.items())
    return Figure("classes", caption, f"Falling steps on a logarithmic scale. {alt}.", data)


def _name(column: str) -> str:
    return COLUMN_NAMES.get(column, column)


def _told(column: str, sizes: NDArray[np.int64]) -> str:
    return (
        f"{_name(column)}: {plural(len(sizes), 'class')}, from {sizes[0]:,} down to "
        f"{plural(int(sizes[-1]), 'caption')}, median {np.median(sizes):,.0f}"
    )
