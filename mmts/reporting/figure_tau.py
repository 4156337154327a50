"""What the schedules do: the temperature (or margin) of three clusters over the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmts.reporting.cells import Dataset
from mmts.reporting.style import Figure, canvas, headline, png
from mmts.reporting.tables import setting
from mmts.reporting.words import OBJECTIVES
from mmts.schedule import tau_base

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 4  # panels a row
_COLOURS = {"largest": "#08306b", "median": "#2b8cbe", "smallest": "#f28e2b"}
_ALIKE = "#6e7781"
_KNOBS = {"info_nce": "temperature τ", "max_margin": "margin"}


def tau_figure(dataset: Dataset) -> Figure:
    """tau_i over the training for the largest, median and smallest cluster, a panel a method."""
    objectives = dict.fromkeys(dataset.objective(method) for method in dataset.methods)
    groups = {o: [m for m in dataset.methods if dataset.objective(m) == o] for o in objectives}
    rows = [(o, ms[i : i + _ROW]) for o, ms in groups.items() for i in range(0, len(ms), _ROW)]
    columns = max(len(methods) for _, methods in rows)
    with canvas(0.8 + 2.1 * len(rows), width=max(2.6 * columns, 6.5)) as figure:
        grid = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey="row")
        for (objective, methods), axes in zip(rows, grid, strict=True):
            axes[0].set_ylabel(_KNOBS[objective])
            for panel in axes[len(methods) :]:
                panel.set_visible(False)
            for method, panel in zip(methods, axes, strict=False):
                _panel(panel, dataset, method)
                panel.set_xlabel("epoch")
            top = max(panel.get_ylim()[1] for panel in axes[: len(methods)])
            axes[0].set_ylim(0, top * 1.06)
        lines = {str(line.get_label()): line for panel in grid.flat for line in panel.lines}
        figure.legend(handles=list(lines.values()), ncols=4, loc="outside lower left")
        headline(figure, f"{dataset.name}: {_subject(list(objectives))} over the training")
        data = png(figure)
    caption = (
        "One value a sample: the cosine schedule (Eq. 7) plus the shift of the sample's cluster "
        "(Eq. 6 and 8), or one line where all clusters have the same shift."
    )
    return Figure("tau", caption, _alt(dataset), data)


def _subject(objectives: list[str]) -> str:
    names = {"info_nce": "temperature", "max_margin": "margin"}
    return " and ".join(names[objective] for objective in objectives)


def _panel(axes: Axes, dataset: Dataset, method: str) -> None:
    run = dataset.of(method)[0].run
    steps = np.linspace(0, run["total_steps"], 400)
    base = np.array([tau_base(s, alpha=run["alpha"], period=run["period"]) for s in steps.tolist()])
    epochs = steps / run["total_steps"] * run["epochs"]
    shifts = {name: shift for name, (_, shift) in three_clusters(dataset, method).items()}
    if len(set(shifts.values())) == 1:
        axes.plot(epochs, base + shifts["median"], color=_ALIKE, label="all clusters alike")
    else:
        for name, shift in shifts.items():
            axes.plot(epochs, base + shift, color=_COLOURS[name], label=f"{name} cluster")
    axes.set_title(method, fontsize=10)
    axes.set_xticks(np.linspace(0, run["epochs"], 3))
    axes.margins(x=0.04)
    axes.tick_params(length=0, labelbottom=True)


def three_clusters(dataset: Dataset, method: str) -> dict[str, tuple[int, float]]:
    """Size and shift of the largest, the median and the smallest cluster of the method."""
    table = dataset.shifts[method].sort_values(
        ["cluster_size", "cluster_id"], ascending=[False, True]
    )
    table = table[table["cluster_size"] > 0]
    rows = {"largest": 0, "median": len(table) // 2, "smallest": len(table) - 1}
    sizes, shifts = table["cluster_size"].to_numpy(), table["shift"].to_numpy()
    return {name: (int(sizes[row]), float(shifts[row])) for name, row in rows.items()}


def _alt(dataset: Dataset) -> str:
    told = []
    for method in dataset.methods:
        run = dataset.of(method)[0].run
        ends = three_clusters(dataset, method)
        (large, high), (small, low) = ends["largest"], ends["smallest"]
        wave = f"{run['oscillations']:g} cosine waves of height {run['alpha']:g}"
        shape = wave if run["alpha"] else "no wave"
        spread = (
            f"shifts from {low:.3g} ({small:,} captions) to {high:.3g} ({large:,} captions)"
            if abs(high - low) > 1e-9
            else f"every cluster at {high:.3g}"
        )
        kind = OBJECTIVES[dataset.objective(method)]
        told.append(f"{method} ({kind}, {setting(dataset, method)}): {shape}, {spread}")
    return "Lines for the largest, median and smallest cluster. " + "; ".join(told) + "."
