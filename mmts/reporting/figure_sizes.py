"""The long tail itself: how many training captions each cluster holds."""

from __future__ import annotations

import numpy as np

from mmts.metrics.longtail import PARTS
from mmts.reporting.cells import Dataset
from mmts.reporting.clusters import cluster_sizes, parts_by_rank
from mmts.reporting.style import Figure, canvas, headline, png
from mmts.reporting.words import plural

_SHADES = {"head": "#08519c", "medium": "#4292c6", "tail": "#9ecae1"}


def sizes_figure(dataset: Dataset) -> Figure:
    """Training captions of each cluster, from the largest to the smallest (Fig. 5, 8, 10)."""
    from matplotlib.patches import Patch

    sizes = cluster_sizes(dataset)
    counts, parts = sizes.to_numpy(), np.array(parts_by_rank(sizes))
    edges = np.arange(len(counts) + 1) + 0.5
    span = f"from {counts[0]:,} down to {plural(int(counts[-1]), 'training caption')}"
    handles = []
    with canvas(3.4) as figure:
        axes = figure.subplots()
        for part in PARTS:
            ranks = np.flatnonzero(parts == part)
            if not len(ranks):
                continue
            low, high = ranks[0], ranks[-1] + 1
            shade = _SHADES[part]
            axes.stairs(counts[low:high], edges[low : high + 1], fill=True, color=shade)
            axes.axvspan(edges[low], edges[high], color=shade, alpha=0.1, linewidth=0)
            share = f"{100 * counts[ranks].sum() / counts.sum():.0f} % of the captions"
            text = f"{part}: {plural(len(ranks), 'cluster')}, {share}"
            handles.append(Patch(color=shade, label=text))
        axes.set(xlim=(0.5, edges[-1]), ylim=(0, counts[0] * 1.04))
        axes.tick_params(length=0)
        axes.locator_params(axis="x", integer=True)
        square = {"handlelength": 1.0, "handleheight": 1.0}
        figure.legend(handles=handles, ncols=3, loc="outside lower left", **square)
        axes.set(xlabel="cluster, sorted by size", ylabel="training captions")
        headline(figure, f"{dataset.name}: {plural(len(counts), 'cluster')} {span}")
        data = png(figure)
    caption = (
        "Training captions of each cluster. Shades mark head, medium and tail, the sorted "
        "clusters cut at thirds of the training rows."
    )
    return Figure("sizes", caption, _alt(counts, parts, span), data)


def _alt(counts: np.ndarray, parts: np.ndarray, span: str) -> str:
    cuts = "; ".join(
        f"{part}: {plural(int((parts == part).sum()), 'cluster')} with "
        f"{plural(int(counts[parts == part].sum()), 'caption')}"
        for part in PARTS
    )
    return (
        f"Falling steps of the sizes of {plural(len(counts), 'cluster')}, {span}, median "
        f"{np.median(counts):,.0f}. {cuts}."
    )
