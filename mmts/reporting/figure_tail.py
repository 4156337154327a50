"""How well each method retrieves in large and in small clusters."""

from __future__ import annotations

from statistics import mean, stdev
from typing import TYPE_CHECKING

from mmts.metrics.longtail import PARTS
from mmts.reporting.cells import Dataset
from mmts.reporting.style import INK, Figure, canvas, headline, method_colours, method_legend, png
from mmts.reporting.words import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = dict[str, dict[str, list[float]]]  # method -> part -> one number a seed


def tail_figure(dataset: Dataset, source: str, *, name: str = "tail") -> Figure:
    """rsum on head, medium and tail queries: a bar a method, and its gain on its baseline."""
    rsum = _by_part(dataset, source)
    gains = {
        method: {part: _minus(parts[part], rsum[dataset.baseline(method)][part]) for part in PARTS}
        for method, parts in rsum.items()
        if dataset.baseline(method) != method
    }
    colours = method_colours(dataset)
    with canvas(3.9) as figure:
        axes = figure.subplots(1, 2 if gains else 1, squeeze=False)[0]
        _bars(axes[0], rsum, colours)
        axes[0].set_title("rsum")
        if gains:
            _bars(axes[1], gains, colours)
            axes[1].axhline(0, color=INK, linewidth=0.8)
            axes[1].set_title("Difference to the baseline")
        method_legend(figure, dataset)
        headline(figure, f"{dataset.name}: retrieval in head, medium and tail clusters")
        data = png(figure)
    return Figure(name, _caption(dataset), _alt(dataset, source, rsum, gains), data)


def _by_part(dataset: Dataset, source: str) -> Series:
    return {
        method: {
            part: [100 * value for value in dataset.values(method, source, f"{part}/rsum")]
            for part in PARTS
        }
        for method in dataset.methods
    }


def _minus(values: list[float], baseline: list[float]) -> list[float]:
    if not values or not baseline:
        return []
    return [value - other for value, other in zip(values, baseline, strict=True)]


def _bars(axes: Axes, series: Series, colours: dict[str, str]) -> None:
    width = 0.82 / len(series)
    for i, (method, parts) in enumerate(series.items()):
        for x, part in enumerate(PARTS):
            values = parts[part]
            if not values:
                continue
            place = x + (i - (len(series) - 1) / 2) * width
            error = stdev(values) if len(values) > 1 else None
            whisker = {"elinewidth": 1.1, "ecolor": INK}
            axes.bar(
                place, mean(values), width * 0.9, color=colours[method], yerr=error,
                error_kw=whisker,
            )  # fmt: skip
    axes.set_xticks(range(len(PARTS)), PARTS)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)


def _caption(dataset: Dataset) -> str:
    if len(dataset.seeds) > 1:
        whiskers = (
            f"Whiskers: one standard deviation over {len(dataset.seeds)} seeds; on the right, of "
            "the difference seed by seed."
        )
    else:
        whiskers = "One seed, so there are no whiskers."
    return (
        "rsum (0 to 600) of the queries in head, medium and tail clusters. Greys are baselines. "
        + whiskers
    )


def _alt(dataset: Dataset, source: str, rsum: Series, gains: Series) -> str:
    def told(parts: dict[str, list[float]], form: str) -> str:
        shown = {p: format(mean(v), form).replace("-", "−") for p, v in parts.items() if v}
        return ", ".join(f"{part} {number}" for part, number in shown.items())

    bars = "; ".join(f"{method}: {told(parts, '.1f')}" for method, parts in rsum.items())
    alt = f"Bars of mean rsum on {source} by cluster size. {bars}."
    tails = {m: mean(parts["tail"]) for m, parts in gains.items() if parts["tail"]}
    if tails:
        top = max(tails, key=lambda method: tails[method])
        alt += (
            " A second panel shows differences to the baseline; the largest on tail queries is "
            f"{top} with {signed(tails[top])}."
        )
    return alt
