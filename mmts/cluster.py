"""What clusterings share: vectors to cluster, and numbers and sizes of the clusters found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mmts.embeddings import Embeddings, distinct
from mmts.errors import InputError, kind_file
from mmts.passes import refuse_useless

if TYPE_CHECKING:
    from mmts.kinds.clustering import ClusteringKind, Features

LSA_DIMENSIONS = 128
UNKNOWN = -1
"""Of a caption that is not trained on and in no cluster of training captions: size 0, a tail."""
NOISE = -1
"""The label of a caption that a clustering puts into no cluster."""
FACTS = ("kind", "label", "column", "published", "k", "noise")
"""What `numbered` says of a clustering, for the page."""
BLOCK = 4096
"""Vectors whose distances are computed at once."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Clusters(NamedTuple):
    """One named clustering.

    table: caption_id, cluster_id (int32), cluster_size (int64: the cluster's training rows), a row
        a caption of every split.
    centroids: [k, D] float32, or None where there are none.
    facts: what to store as JSON beside them.
    """

    table: pd.DataFrame
    centroids: Floats | None
    facts: dict[str, Any]


def training(captions: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which captions are trained on."""
    return (captions["split"] == "train").to_numpy()


def numbered(
    clustering: ClusteringKind,
    captions: pd.DataFrame,
    labels: ArrayLike,
    centroids: Floats | None = None,
    facts: dict[str, Any] | None = None,
) -> Clusters:
    """Number the clusters of any labels from the largest to the smallest, in training captions.

    A training caption that is noise becomes a cluster of its own, after all others: it is as rare
    as can be. A caption of another split is unknown where it is noise, or where no training caption
    has its label. Clusters of one size stay in the order of their labels.

    Args:
        clustering: that the labels are of.
        captions: the captions table.
        labels: [captions], whole numbers from 0, or -1 for noise.
        centroids: [k, D], in the order of the labels.
        facts: to store too.

    Raises:
        InputError: the labels are others, or of each training caption noise.
    """
    name = f"the clustering {clustering.kind}"
    label, train = _labels(labels, len(captions), name), training(captions)
    noise = train & (label == NOISE)
    if noise.sum() == train.sum():
        raise InputError(
            f"{name} takes each of the {int(train.sum())} training captions for noise; change its "
            "settings under `clusterings`"
        )
    size = np.bincount(label[train & ~noise], minlength=int(label.max()) + 1)
    order = np.argsort(-size, kind="stable")[: np.count_nonzero(size)]
    number = np.full(len(size) + 1, UNKNOWN)
    number[order] = np.arange(len(order))  # the last one is of the label -1
    cluster_id = number[label]
    cluster_id[noise] = len(order) + np.arange(noise.sum())
    sizes = np.concatenate([size[order], np.ones(noise.sum(), np.int64), [0]])
    table = pd.DataFrame(
        {
            "caption_id": captions["caption_id"].to_numpy(),
            "cluster_id": cluster_id.astype(np.int32),
            "cluster_size": sizes[cluster_id].astype(np.int64),
        }
    )
    about = {
        "kind": clustering.kind,
        "label": clustering.label,
        "column": clustering.by,
        "published": clustering.published,
        "k": len(order),
        "noise": int(noise.sum()),
    }
    return Clusters(
        table, None if centroids is None else centroids[order], {**about, **(facts or {})}
    )


def check_found(found: object, clustering: ClusteringKind, captions: pd.DataFrame) -> Clusters:
    """Return what a clustering gave; InputError where it is no `Clusters` of these captions."""
    wanted = ["caption_id", "cluster_id", "cluster_size"]
    if not isinstance(found, Clusters):
        problem = f"a {type(found).__name__}"
    elif (
        list(found.table) != wanted
        or found.table["caption_id"].tolist() != captions["caption_id"].tolist()
    ):
        problem = f"a table that has not {', '.join(wanted)} of the {len(captions)} captions"
    elif missing := [name for name in FACTS if name not in found.facts]:
        problem = f"facts without {', '.join(missing)}"
    else:
        return found
    raise InputError(
        f"{kind_file(type(clustering).__module__)}: `cluster` gives {problem}; let it return "
        "`numbered(self, captions, labels)` of mmts.cluster"
    )


def _labels(labels: ArrayLike, count: int, name: str) -> Ints:
    """Return labels as whole numbers; InputError where they are none, or not one a caption."""
    found = np.asarray(labels)
    if found.shape != (count,):
        raise InputError(
            f"{name} gave labels of shape {list(found.shape)} for {count} captions; a clustering "
            "gives one a caption of the table, of all splits"
        )
    if not np.issubdtype(found.dtype, np.integer):
        raise InputError(
            f"{name} gave labels of type {found.dtype}; a clustering gives whole numbers, -1 for "
            "noise"
        )
    if (found < NOISE).any():
        row = int((found < NOISE).argmax())
        raise InputError(
            f"{name} gave caption {row} the label {found[row]}; a clustering gives numbers from 0, "
            "-1 for noise"
        )
    return found.astype(np.int64)


def nearest(
    labels: ArrayLike, captions: pd.DataFrame, vectors: Floats, rows: Ints
) -> tuple[Ints, Floats]:
    """Give captions of other splits the label of the nearest centroid.

    One that is farther from it than every training caption of that cluster is noise, if there is
    noise among the training captions.

    Args:
        labels: [training captions], from 0, or -1 for noise.
        captions: the captions table.
        vectors, rows: of `features`.

    Returns:
        Labels of all captions, and the centroids, [k, D].
    """
    train = training(captions)
    of = np.asarray(labels)
    k = int(of.max(initial=NOISE)) + 1
    trained, centroids = rows[train], np.zeros((k, vectors.shape[1]), np.float32)
    reach = np.full(k, np.inf, np.float32)
    for label in range(k):
        members = vectors[trained[of == label]]
        centroids[label] = members.mean(axis=0)
        if (of == NOISE).any():
            reach[label] = np.linalg.norm(members - centroids[label], axis=1).max()
    found = np.full(len(captions), NOISE, np.int64)
    found[train] = of
    held_out = np.flatnonzero(~train) if k else np.empty(0, np.int64)
    for start in range(0, len(held_out), BLOCK):
        at = held_out[start : start + BLOCK]
        block = vectors[rows[at]]
        squares = (centroids**2).sum(axis=1) - 2 * block @ centroids.T
        closest = squares.argmin(axis=1)
        away = np.linalg.norm(block - centroids[closest], axis=1)
        found[at] = np.where(away <= reach[closest], closest, NOISE)
    return found, centroids


def features(
    kind: Features, captions: pd.DataFrame, embeddings: Embeddings, seed: int = 0
) -> tuple[Floats, Ints]:
    """Return vectors to cluster, and for each row of the captions table which vector it has."""
    if kind == "text":
        return np.asarray(embeddings.text), embeddings.caption_text
    if kind == "lsa":
        return lsa(captions, seed)
    if embeddings.vision is None:
        raise InputError(
            "a clustering has `features: vision`, but the vision tower is not frozen, so there are "
            "no vision features; set `features: text` or freeze the tower"
        )
    vectors = np.asarray(embeddings.vision, dtype=np.float32)
    refuse_useless(vectors)  # a norm that overflows makes 0 of a vector
    rows, _ = pd.factorize(captions["sample_id"])
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12), rows.astype(np.int64)


def lsa(captions: pd.DataFrame, seed: int) -> tuple[Floats, Ints]:
    """Latent semantic analysis (Deerwester et al. 1990): what only the words of a caption say.

    TF-IDF of the words, and its LSA_DIMENSIONS largest singular directions, both fitted on the
    training captions. A caption without any of their words has a vector of zeros.

    Returns:
        Vectors of length 1 (or 0), a row a distinct caption, and the row of each caption.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    texts, rows = distinct(captions["caption"])
    train = np.unique(rows[training(captions)])
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")  # noqa: S106
    try:
        known = words.fit_transform([texts[row] for row in train])
    except ValueError:
        raise InputError(
            "a clustering has `features: lsa`, but no training caption has a word; set "
            "`features: text`"
        ) from None
    svd = TruncatedSVD(min(LSA_DIMENSIONS, *known.shape), random_state=seed)
    with threadpool_limits(1):  # several threads add up in an order of chance
        vectors = normalize(svd.fit(known).transform(words.transform(texts)))
    return vectors.astype(np.float32), rows
