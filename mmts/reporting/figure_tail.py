"""How well each method retrieves in large and in small clusters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmts.metrics.longtail import PARTS
from mmts.reporting.cells import Dataset
from mmts.reporting.intervals import Interval
from mmts.reporting.style import INK, Figure, canvas, headline, method_colours, method_legend, png
from mmts.reporting.tables import own_interval, to_baseline
from mmts.reporting.words import bounds, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Bars = dict[str, dict[str, Interval | None]]
"""By method and part."""


def tail_figure(
    dataset: Dataset, source: str, *, resamples: int, seed: int, name: str = "tail"
) -> Figure:
    """The measure on head, medium and tail queries: a bar a method, and its gain on its baseline.

    Whiskers are the intervals of the tables.
    """

    def bars(methods: Sequence[str], interval_of: Callable[..., Interval | None]) -> Bars:
        draws = {"resamples": resamples, "seed": seed}
        return {m: {p: interval_of(dataset, source, m, p, **draws) for p in PARTS} for m in methods}

    scores = bars(dataset.methods, own_interval)
    gains = bars([m for m in dataset.methods if dataset.baseline(m) != m], to_baseline)
    colours = method_colours(dataset)
    with canvas(3.9) as figure:
        axes = figure.subplots(1, 2 if gains else 1, squeeze=False)[0]
        _draw(axes[0], scores, colours)
        axes[0].set_title(dataset.measure.name)
        if gains:
            _draw(axes[1], gains, colours)
            axes[1].axhline(0, color=INK, linewidth=0.8)
            axes[1].set_title("Difference to the baseline")
        method_legend(figure, dataset)
        of = dataset.name + (f" on {source}" if len(dataset.test_sources) > 1 else "")
        again = ", re-ranked" if dataset.reranked else ""
        headline(figure, f"{of}: retrieval in head, medium and tail clusters{again}")
        data = png(figure)
    caption = _caption(dataset, bool(gains))
    return Figure(name, caption, _alt(dataset, source, scores, gains), data)


def _draw(axes: Axes, bars: Bars, colours: dict[str, str]) -> None:
    width = 0.82 / len(bars)
    for i, (method, parts) in enumerate(bars.items()):
        for x, part in enumerate(PARTS):
            found = parts[part]
            if found is None:
                continue
            place = x + (i - (len(bars) - 1) / 2) * width
            whisker = [[found.value - found.low], [found.high - found.value]]
            axes.bar(
                place, found.value, width * 0.9, color=colours[method],
                yerr=np.maximum(whisker, 0), error_kw={"elinewidth": 1.1, "ecolor": INK},
            )  # fmt: skip
    axes.set_xticks(range(len(PARTS)), PARTS)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)


def _caption(dataset: Dataset, gains: bool) -> str:
    seeds = len(dataset.seeds)
    over = f" and over {seeds} seeds" if seeds > 1 else "; what another seed would change is not in"
    paired = (
        " Differences are paired, so that theirs are narrower: compare methods on the right."
        if gains
        else ""
    )
    again = f"Re-ranked: {dataset.reranked}. " if dataset.reranked else ""
    return (
        f"{again}{dataset.measure.axis} of the queries in head, medium and tail clusters. Greys "
        f"are baselines. Whiskers: 95 % intervals over {dataset.measure.units}{over}.{paired}"
    )


def _alt(dataset: Dataset, source: str, scores: Bars, gains: Bars) -> str:
    def told(parts: dict[str, Interval | None]) -> str:
        shown = {part: f"{found.value:.1f}" for part, found in parts.items() if found}
        return ", ".join(f"{part} {number}" for part, number in shown.items())

    bars = "; ".join(f"{method}: {told(parts)}" for method, parts in scores.items())
    again = ", re-ranked" if dataset.reranked else ""
    alt = f"Bars of mean {dataset.measure.name} on {source} by cluster size{again}. {bars}."
    tails = {method: gain for method, parts in gains.items() if (gain := parts["tail"])}
    if tails:
        differences = "; ".join(
            f"{method} {signed(gain.value)} ({bounds(gain)})" for method, gain in tails.items()
        )
        alt += (
            " A second panel shows differences to the baseline, on tail queries with 95 % "
            f"intervals: {differences}."
        )
    return alt
