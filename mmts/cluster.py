"""Training captions -> clusters: K-Means on their vectors, or the classes of a column."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmts.embeddings import Embeddings, distinct
from mmts.errors import InputError
from mmts.kmeans import Fit, streamed
from mmts.passes import refuse_useless
from mmts.settings.prepared import Clustering, ColumnClustering, KMeansClustering

SCIKIT_LEARN_BYTES = 2**28
"""Of distinct training vectors: scikit-learn, which copies them, clusters up to so many."""
LSA_DIMENSIONS = 128
UNKNOWN = -1  # a class that no training row has: size 0, counts as tail


class Clusters(NamedTuple):
    """One named clustering.

    table: caption_id, cluster_id (int32), cluster_size (int64: the cluster's training rows), a row
        a caption of every split.
    centroids: [k, D] float32, or None for a column.
    facts: what to store as JSON beside them.
    """

    table: pd.DataFrame
    centroids: NDArray[np.float32] | None
    facts: dict[str, Any]


def cluster(settings: Clustering, captions: pd.DataFrame, embeddings: Embeddings) -> Clusters:
    """Cluster the training captions; other splits take the nearest centroid (paper section 3.2).

    Raises:
        InputError: more clusters than distinct training captions, no such column, or a vector
            with a number that is not finite or too large.
    """
    if isinstance(settings, ColumnClustering):
        return by_column(settings.column, captions)
    vectors, rows = features(settings, captions, embeddings)
    train = (captions["split"] == "train").to_numpy()
    fit = kmeans(vectors, rows[train], settings)
    facts = {
        "kind": "kmeans",
        "k": settings.k,
        "features": settings.features,
        "seed": settings.seed,
        "inertia": fit.inertia,
        "algorithm": fit.algorithm,
        "iterations": fit.iterations,
    }
    return Clusters(_table(captions, fit.labels[rows], train), fit.centroids, facts)


def features(
    settings: KMeansClustering, captions: pd.DataFrame, embeddings: Embeddings
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors to cluster, and for each row of the captions table which vector it has."""
    if settings.features == "text":
        return np.asarray(embeddings.text), embeddings.caption_text
    if settings.features == "lsa":
        return lsa(captions, settings.seed)
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


def lsa(captions: pd.DataFrame, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
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
    train = np.unique(rows[(captions["split"] == "train").to_numpy()])
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


def kmeans(
    vectors: NDArray[np.float32], train_rows: NDArray[np.int64], settings: KMeansClustering
) -> Fit:
    """Fit on the distinct training vectors, weighted by how often each occurs.

    scikit-learn fits up to SCIKIT_LEARN_BYTES of them, and mmts.kmeans more.

    Args:
        vectors: [U, D] distinct vectors.
        train_rows: for each training caption its row of `vectors`.

    Returns:
        Labels are those of every row of `vectors`. Clusters are numbered from the largest (in
        training captions) to the smallest.

    Raises:
        InputError: fewer than k training vectors differ, or a number is not finite or too large.
    """
    refuse_useless(vectors)
    weight = np.bincount(train_rows, minlength=len(vectors))
    used = np.flatnonzero(weight)
    weight = weight[used]
    _refuse_too_few(vectors, used, settings.k)
    if len(used) * vectors[0].nbytes > SCIKIT_LEARN_BYTES:
        fit = streamed(
            vectors, used, weight, settings.k, seed=settings.seed, starts=settings.starts
        )
    else:
        fit = _scikit_learn(vectors, used, weight, settings)
    size = np.bincount(fit.labels[used], weights=weight, minlength=settings.k)
    order = np.argsort(-size, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(settings.k)
    return fit._replace(labels=rank[fit.labels], centroids=fit.centroids[order])


def _refuse_too_few(vectors: NDArray[np.float32], used: NDArray[np.int64], k: int) -> None:
    """InputError where fewer than k training vectors differ; looks at no more than it needs."""
    different: set[bytes] = set()
    for row in used:
        different.add((vectors[row] + 0.0).tobytes())  # + 0.0: no negative zero
        if len(different) == k:
            return
    raise InputError(
        f"k is {k} but the training split has {len(different)} distinct captions; lower k under "
        "`clusterings`"
    )


def _scikit_learn(
    vectors: NDArray[np.float32],
    used: NDArray[np.int64],
    weight: NDArray[np.int64],
    settings: KMeansClustering,
) -> Fit:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    model = KMeans(settings.k, n_init=settings.starts, random_state=settings.seed)
    with threadpool_limits(1):  # several threads add up in an order of chance
        model.fit(vectors[used], sample_weight=weight.astype(np.float64))
        labels = model.predict(vectors).astype(np.int64)
    labels[used] = model.labels_
    centroids = model.cluster_centers_.astype(np.float32)
    return Fit(labels, centroids, float(model.inertia_), model.n_iter_, "scikit-learn")


def by_column(column: str, captions: pd.DataFrame) -> Clusters:
    """Classes as clusters, numbered by their number of training rows, largest first."""
    name = f"class_{column}"
    if name not in captions:
        there = [c.removeprefix("class_") for c in captions.columns if c.startswith("class_")]
        raise InputError(
            f"clustering by column {column}: there is no such class column; there are: "
            f"{', '.join(there) or 'none (name them in class_columns)'}"
        )
    train = (captions["split"] == "train").to_numpy()
    unknown = train & (captions[name] == "").to_numpy()
    if unknown.any():
        raise InputError(
            f"clustering by column {column}: {int(unknown.sum())} training rows have no class; "
            f"fill in that of caption {captions['caption_id'].iloc[int(unknown.argmax())]} first"
        )
    size = captions.loc[train, name].value_counts()
    labels = sorted(size.index, key=lambda label: (-size[label], label))
    number = {label: i for i, label in enumerate(labels)}
    cluster_id = captions[name].map(lambda label: number.get(label, UNKNOWN)).to_numpy()
    facts = {"kind": "column", "k": len(labels), "column": column, "labels": labels}
    return Clusters(_table(captions, cluster_id, train), None, facts)


def _table(
    captions: pd.DataFrame, cluster_id: NDArray[np.int64], train: NDArray[np.bool_]
) -> pd.DataFrame:
    known = cluster_id >= 0
    size = np.bincount(cluster_id[train], minlength=int(cluster_id.max()) + 1)
    return pd.DataFrame(
        {
            "caption_id": captions["caption_id"].to_numpy(),
            "cluster_id": cluster_id.astype(np.int32),
            "cluster_size": np.where(known, size[np.maximum(cluster_id, 0)], 0).astype(np.int64),
        }
    )
