"""Where the clusters lie: a t-SNE map of training captions (Fig. 4 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmts.errors import InputError
from mmts.passes import LARGEST
from mmts.reporting.cells import Dataset
from mmts.reporting.clusters import WordCounter, cluster_sizes, training_captions
from mmts.reporting.labels import label_places
from mmts.reporting.style import Figure, canvas, headline, png
from mmts.reporting.words import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00",
    "#56b4e9", "#882255", "#332288", "#999933", "#a0522d",
)  # fmt: skip
_GREY = "#c9ced4"


def map_figure(dataset: Dataset, *, points: int, perplexity: float, seed: int) -> Figure:
    """t-SNE of up to `points` distinct training captions, the largest clusters in colour."""
    train = training_captions(dataset)
    drawn = _drawn(train, points, seed)
    vectors = np.load(dataset.vectors, mmap_mode="r")[drawn["vector"]]
    if vectors.shape[1] < 2 or not (np.abs(vectors) <= LARGEST).all():
        raise InputError(
            f"{dataset.vectors} has vectors of one number, or a number that is not finite or more "
            f"than {LARGEST:.0e}; run `dvc repro`"
        )
    places = _tsne(vectors, perplexity, seed)
    top = cluster_sizes(dataset).index[: len(_COLOURS)].tolist()
    names = _names(train, top, seed)
    ids = drawn["cluster_id"].to_numpy()
    x, y = places.T
    with canvas(6.4) as figure:
        axes = figure.subplots()
        rest = ~np.isin(ids, top)
        axes.scatter(x[rest], y[rest], s=7, color=_GREY, linewidths=0)
        for cluster, colour in zip(top, _COLOURS, strict=False):
            axes.scatter(x[ids == cluster], y[ids == cluster], s=11, color=colour, linewidths=0)
        axes.set_axis_off()
        axes.margins(0.02)
        wanted = [_dense_middle(places[ids == cluster]) for cluster in top]
        boxes = label_places(places, wanted, [names[cluster] for cluster in top])
        for box, cluster, colour in zip(boxes, top, _COLOURS, strict=False):
            _label(axes, _inside(axes, box.middle, names[cluster]), names[cluster], colour)
        headline(figure, f"{dataset.name}: training captions on a t-SNE map")
        data = png(figure)
    caption = (
        f"{plural(len(drawn), 'distinct training caption')}, drawn at random. Colours mark the "
        f"{plural(len(top), 'largest cluster')}, named by words frequent in them and rare "
        "elsewhere; the other clusters are grey."
    )
    share = float((~rest).mean())
    alt = (
        f"Scatter of {plural(len(drawn), 'caption')}; {share:.0%} lie in the coloured clusters "
        + "; ".join(f"{names[c]} ({int((ids == c).sum())} points)" for c in top)
        + "."
    )
    return Figure("map", caption, alt, data, private=True)


def _drawn(train: pd.DataFrame, points: int, seed: int) -> pd.DataFrame:
    distinct = train.drop_duplicates("vector")
    rows = np.random.default_rng(seed).permutation(len(distinct))[:points]
    return distinct.iloc[np.sort(rows)]


def _tsne(vectors: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """Two coordinates a row. One thread: sums in another order would move the points."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(vectors) < 5:
        return np.asarray(vectors[:, :2], dtype=np.float64)
    fits = min(perplexity, (len(vectors) - 1) / 3)
    with threadpool_limits(1):
        model = TSNE(perplexity=fits, init="pca", random_state=seed, n_jobs=1)
        return np.asarray(model.fit_transform(np.asarray(vectors)))


def _names(train: pd.DataFrame, clusters: list[int], seed: int) -> dict[int, str]:
    """Two frequent words a cluster; a word names only the first cluster that claims it."""
    counter = WordCounter(train["caption"].tolist(), seed)
    names: dict[int, str] = {}
    taken: set[str] = set()
    for cluster in clusters:
        captions = train.loc[train["cluster_id"] == cluster, "caption"].tolist()
        words = counter.frequent(captions, 12)
        chosen = [word for word in words if word not in taken][:2] or words[:2]
        taken.update(chosen)
        names[cluster] = ", ".join(chosen) or f"cluster {cluster}"
    return names


def _dense_middle(places: np.ndarray) -> np.ndarray:
    """The point of the cluster with the smallest summed distance to the others."""
    if not len(places):
        return np.zeros(2)
    some = places[:400]
    distances = np.linalg.norm(some[:, None] - some[None], axis=2).sum(axis=1)
    middle: np.ndarray = some[int(np.argmin(distances))]
    return middle


def _inside(axes: Axes, place: np.ndarray, text: str) -> np.ndarray:
    """The middle of a text that does not reach over the left or right end of the axes."""
    low, high = axes.get_xlim()
    half = min(0.0039 * len(text), 0.5) * (high - low)
    return np.array([np.clip(place[0], low + half, high - half), place[1]])


def _label(axes: Axes, place: np.ndarray, text: str, colour: str) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3.2, foreground="white")]
    x, y = place.tolist()
    axes.text(
        x, y, text, color=colour, fontsize=10, fontweight="bold", ha="center", va="center",
        path_effects=halo,
    )  # fmt: skip
