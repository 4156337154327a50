"""How well each method retrieves in large and in small clusters."""

from __future__ import annotations

from statistics import mean, stdev
from typing import TYPE_CHECKING

from mmts.metrics.longtail import PARTS
from mmts.reporting.cells import Dataset
from mmts.reporting.intervals import Interval
from mmts.reporting.style import INK, Figure, canvas, headline, method_colours, method_legend, png
from mmts.reporting.tables import to_baseline
from mmts.reporting.words import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = dict[str, dict[str, list[float]]]  # method -> part -> one number a seed
Intervals = dict[str, dict[str, Interval | None]]  # method -> part -> of its gain


def tail_figure(
    dataset: Dataset, source: str, *, resamples: int, seed: int, name: str = "tail"
) -> Figure:
    """The measure on head, medium and tail queries: a bar a method, and its gain on its baseline.

    Whiskers are deviations over seeds; with one seed, intervals of the gains by the bootstrap.
    """
    scores = _by_part(dataset, source)
    gains = {
        method: {
            part: _minus(parts[part], scores[dataset.baseline(method)][part]) for part in PARTS
        }
        for method, parts in scores.items()
        if dataset.baseline(method) != method
    }
    intervals: Intervals = {}
    if len(dataset.seeds) == 1:
        draws = {"resamples": resamples, "seed": seed}
        intervals = {
            m: {p: to_baseline(dataset, source, m, p, **draws) for p in PARTS} for m in gains
        }
    colours = method_colours(dataset)
    with canvas(3.9) as figure:
        axes = figure.subplots(1, 2 if gains else 1, squeeze=False)[0]
        _bars(axes[0], scores, colours)
        axes[0].set_title(dataset.measure.name)
        if gains:
            _bars(axes[1], gains, colours, intervals)
            axes[1].axhline(0, color=INK, linewidth=0.8)
            axes[1].set_title("Difference to the baseline")
        method_legend(figure, dataset)
        of = dataset.name + (f" on {source}" if len(dataset.test_sources) > 1 else "")
        headline(figure, f"{of}: retrieval in head, medium and tail clusters")
        data = png(figure)
    caption = _caption(dataset, bool(gains))
    return Figure(name, caption, _alt(dataset, source, scores, gains), data)


def _by_part(dataset: Dataset, source: str) -> Series:
    return {
        method: {
            part: [
                100 * value
                for value in dataset.values(method, source, f"{part}/{dataset.measure.key}")
            ]
            for part in PARTS
        }
        for method in dataset.methods
    }


def _minus(values: list[float], baseline: list[float]) -> list[float]:
    if not values or not baseline:
        return []
    return [value - other for value, other in zip(values, baseline, strict=True)]


def _bars(
    axes: Axes, series: Series, colours: dict[str, str], intervals: Intervals | None = None
) -> None:
    width = 0.82 / len(series)
    for i, (method, parts) in enumerate(series.items()):
        for x, part in enumerate(PARTS):
            values = parts[part]
            if not values:
                continue
            place = x + (i - (len(series) - 1) / 2) * width
            error = _error(values, (intervals or {}).get(method, {}).get(part))
            whisker = {"elinewidth": 1.1, "ecolor": INK}
            axes.bar(
                place, mean(values), width * 0.9, color=colours[method], yerr=error,
                error_kw=whisker,
            )  # fmt: skip
    axes.set_xticks(range(len(PARTS)), PARTS)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)


def _error(values: list[float], interval: Interval | None) -> float | list[list[float]] | None:
    """How far a bar's whisker goes: both ways alike, or down and up."""
    if interval is not None:
        return [[max(0.0, values[0] - interval.low)], [max(0.0, interval.high - values[0])]]
    return stdev(values) if len(values) > 1 else None


def _caption(dataset: Dataset, gains: bool) -> str:
    if len(dataset.seeds) > 1:
        whiskers = (
            f"Whiskers: one standard deviation over {len(dataset.seeds)} seeds; on the right, of "
            "the difference seed by seed."
        )
    elif gains:
        whiskers = (
            "One seed: on the left there is no spread to show; whiskers on the right are 95 % "
            f"bootstrap intervals over {dataset.measure.units}."
        )
    else:
        whiskers = "One seed, so there are no whiskers."
    return (
        f"{dataset.measure.axis} of the queries in head, medium and tail clusters. Greys are "
        f"baselines. {whiskers}"
    )


def _alt(dataset: Dataset, source: str, scores: Series, gains: Series) -> str:
    def told(parts: dict[str, list[float]], form: str) -> str:
        shown = {p: format(mean(v), form).replace("-", "−") for p, v in parts.items() if v}
        return ", ".join(f"{part} {number}" for part, number in shown.items())

    bars = "; ".join(f"{method}: {told(parts, '.1f')}" for method, parts in scores.items())
    alt = f"Bars of mean {dataset.measure.name} on {source} by cluster size. {bars}."
    tails = {m: mean(parts["tail"]) for m, parts in gains.items() if parts["tail"]}
    if tails:
        top = max(tails, key=lambda method: tails[method])
        alt += (
            " A second panel shows differences to the baseline; the largest on tail queries is "
            f"{top} with {signed(tails[top])}."
        )
    return alt
