"""How the temperature (or margin) moves: by the schedule for three clusters, or as learned."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmts.kinds.objective import label
from mmts.reporting.cells import Cell, Dataset
from mmts.reporting.style import Figure, canvas, headline, png
from mmts.reporting.tables import setting, tau_range
from mmts.reporting.words import capital

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
_ROW = 4  # panels a row
_UNLIKE = 4.0  # times larger or smaller than its baseline: a row of its own, on its own scale
_COLOURS = {"largest": "#08306b", "median": "#2b8cbe", "smallest": "#f28e2b"}
_ALIKE, _LEARNED = "#6e7781", "#117733"
_KNOBS = {"temperature": "temperature τ", "margin": "margin"}


def tau_figure(dataset: Dataset) -> Figure:
    """tau_i over the training, a panel a method; a row has one scale."""
    rows = _rows(dataset)
    columns = max(len(methods) for methods in rows)
    width = max(2.6 * columns, 6.5)
    with canvas(0.8 + 2.1 * len(rows), width=width) as figure:
        grid = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey="row")
        for methods, axes in zip(rows, grid, strict=True):
            axes[0].set_ylabel(_KNOBS[dataset.quantity(methods[0])])
            for panel in axes[len(methods) :]:
                panel.set_visible(False)
            for method, panel in zip(methods, axes, strict=False):
                _panel(panel, dataset, method)
                panel.set_xlabel("epoch")
            top = max(panel.get_ylim()[1] for panel in axes[: len(methods)])
            axes[0].set_ylim(0, top * 1.06)
        lines = {str(line.get_label()): line for panel in grid.flat for line in panel.lines}
        entries = list(lines.values())
        figure.legend(handles=entries, ncols=int(width // 1.8), loc="outside lower left")
        quantities = dict.fromkeys(dataset.quantity(method) for method in dataset.methods)
        headline(figure, f"{dataset.name}: {' and '.join(quantities)} over the training")
        data = png(figure)
    return Figure("tau", _caption(dataset), _alt(dataset), data)


def _rows(dataset: Dataset) -> list[list[str]]:
    """Methods of one quantity and of about one size of tau, at most _ROW in a row."""
    groups: dict[tuple[str, int], list[str]] = {}
    for method in dataset.methods:
        top, usual = (tau_range(dataset, m)[1] for m in (method, dataset.baseline(method)))
        size = int(top > _UNLIKE * usual) - int(top * _UNLIKE < usual)
        groups.setdefault((dataset.quantity(method), size), []).append(method)
    order = list(dict.fromkeys(quantity for quantity, _ in groups))
    ordered = [groups[key] for key in sorted(groups, key=lambda key: order.index(key[0]))]
    return [ms[i : i + _ROW] for ms in ordered for i in range(0, len(ms), _ROW)]


def _panel(axes: Axes, dataset: Dataset, method: str) -> None:
    epochs = dataset.of(method)[0].run["epochs"]
    if dataset.learned(method):
        _learned(axes, dataset, method)
    else:
        _scheduled(axes, dataset, method)
    axes.set_title(method, fontsize=10)
    axes.set_xticks(np.linspace(0, epochs, 3))
    axes.margins(x=0.04)
    axes.tick_params(length=0, labelbottom=True)


def _scheduled(axes: Axes, dataset: Dataset, method: str) -> None:
    run = dataset.of(method)[0].run
    steps = np.linspace(0, run["total_steps"], 400)
    base = _base(dataset.of(method)[0], steps)
    epochs = steps / run["total_steps"] * run["epochs"]
    shifts = {name: shift for name, (_, shift) in three_clusters(dataset, method).items()}
    if len(set(shifts.values())) == 1:
        axes.plot(epochs, base + shifts["median"], color=_ALIKE, label="all clusters alike")
    else:
        for name, shift in shifts.items():
            axes.plot(epochs, base + shift, color=_COLOURS[name], label=f"{name} cluster")


def _base(cell: Cell, steps: Floats) -> Floats:
    """What the schedule adds to the shifts."""
    run, schedule = cell.run, cell.schedule
    if schedule is None:
        return np.zeros(len(steps))
    hold = schedule.hold(max(1, run["total_steps"] // run["epochs"]))
    moved = steps if schedule.update_every == "step" else steps - steps % hold
    value = partial(schedule.value, alpha=run["alpha"], period=run["period"])
    return np.array([value(step) for step in moved.tolist()])


def _learned(axes: Axes, dataset: Dataset, method: str) -> None:
    run, logged = dataset.of(method)[0].run, dataset.logged_tau(method)
    epochs = logged.index.to_numpy() / run["total_steps"] * run["epochs"]
    low, high = logged["tau_min"].to_numpy(), logged["tau_max"].to_numpy()
    axes.fill_between(epochs, low, high, color=_LEARNED, alpha=0.18, linewidth=0)
    named = f"{dataset.of(method)[0].modulator.label}: batch mean"
    axes.plot(epochs, logged["tau_mean"].to_numpy(), color=_LEARNED, label=named)


def three_clusters(dataset: Dataset, method: str) -> dict[str, tuple[int, float]]:
    """Size and shift of the largest, the median and the smallest cluster of the method."""
    table = dataset.shifts[method].sort_values(
        ["cluster_size", "cluster_id"], ascending=[False, True]
    )
    table = table[table["cluster_size"] > 0]
    rows = {"largest": 0, "median": len(table) // 2, "smallest": len(table) - 1}
    sizes, shifts = table["cluster_size"].to_numpy(), table["shift"].to_numpy()
    return {name: (int(sizes[row]), float(shifts[row])) for name, row in rows.items()}


def _caption(dataset: Dataset) -> str:
    cells = [dataset.of(method)[0] for method in dataset.methods]
    formula = [cell for cell in cells if not cell.modulator.learned]
    labels = dict.fromkeys(cell.modulator.label for cell in cells if cell.modulator.learned)
    told = []
    if formula:
        schedules = [cell.schedule for cell in formula if cell.schedule is not None]
        named = dict.fromkeys(f"the {s.label} schedule{' (Eq. 7)' * s.paper}" for s in schedules)
        moves = f"{' or '.join(named)} plus " if named else ""
        shifts = [cell.shift for cell in formula if cell.shift is not None]
        others = " and ".join(dict.fromkeys(shift.label for shift in shifts if not shift.paper))
        equations = f"Eq. 8; Eq. 6 but for shifts by {others}" if others else "Eq. 6 and 8"
        told.append(
            f"One value a sample: {moves}the shift of the sample's cluster ({equations}), or one "
            "line where all clusters have the same shift."
        )
    if labels:
        told.append(
            f"{capital(' or '.join(labels))}: the logged batches, means over seeds; the band goes "
            "from the lowest to the highest tau of a batch."
        )
    if len({dataset.quantity(m) for m in dataset.methods}) < len(_rows(dataset)):
        told.append("Each row of panels has its own scale.")
    return " ".join(told)


def _alt(dataset: Dataset) -> str:
    told = "; ".join(_told(dataset, method) for method in dataset.methods)
    return f"Lines for the largest, median and smallest cluster, or for what is learned. {told}."


def _told(dataset: Dataset, method: str) -> str:
    kind = label(dataset.objective(method))
    start = f"{method} ({kind}, {setting(dataset, method)}): "
    if dataset.learned(method):
        mean = dataset.logged_tau(method)["tau_mean"]
        return f"{start}batch mean from {mean.iloc[0]:.3g} to {mean.iloc[-1]:.3g}"
    cell = dataset.of(method)[0]
    ends = three_clusters(dataset, method)
    (large, high), (small, low) = ends["largest"], ends["smallest"]
    shape = "no wave" if cell.schedule is None else cell.schedule.told(cell.run["alpha"])
    spread = (
        f"shifts from {low:.3g} ({small:,} captions) to {high:.3g} ({large:,} captions)"
        if abs(high - low) > 1e-9
        else f"every cluster at {high:.3g}"
    )
    return f"{start}{shape}, {spread}"
