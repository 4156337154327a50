"""K-Means, by scikit-learn, or by Lloyd's algorithm on more vectors than should be copied."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from mmts.errors import InputError
from mmts.passes import Numbers, Passes, Rows, Vectors, refuse_useless

SCIKIT_LEARN_BYTES = 2**28
"""Of distinct training vectors: scikit-learn, which copies them, clusters up to so many."""
START_ROWS = 256
"""k-means++ looks at a sample: so many vectors a cluster, but at most an eighth of all."""
MAX_ITERATIONS = 300
TOLERANCE = 1e-4
"""A run ends when no label changes, or when the squared movement of all centroids is at most this
times the mean variance of a column. Both numbers are scikit-learn's."""


class Fit(NamedTuple):
    """Labels, [k, D] centroids, inertia and iterations of the best start, and who found them."""

    labels: Rows
    centroids: Vectors
    inertia: float
    iterations: int
    algorithm: str


def fit(vectors: Vectors, train_rows: Rows, k: int, seed: int, starts: int) -> Fit:
    """Fit on the distinct training vectors, weighted by how often each occurs.

    scikit-learn fits up to SCIKIT_LEARN_BYTES of them, and `streamed` more.

    Args:
        vectors: [U, D] distinct vectors.
        train_rows: for each training caption its row of `vectors`.
        k: clusters.
        seed: of the starts.
        starts: the one with the lowest inertia is kept.

    Returns:
        Labels are those of every row of `vectors`.

    Raises:
        InputError: fewer than k training vectors differ, or a number is not finite or too large.
    """
    refuse_useless(vectors)
    weight = np.bincount(train_rows, minlength=len(vectors))
    used = np.flatnonzero(weight)
    weight = weight[used]
    _refuse_too_few(vectors, used, k)
    if len(used) * vectors[0].nbytes > SCIKIT_LEARN_BYTES:
        return streamed(vectors, used, weight, k, seed=seed, starts=starts)
    return _scikit_learn(vectors, used, weight, k, seed=seed, starts=starts)


def _refuse_too_few(vectors: Vectors, used: Rows, k: int) -> None:
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
    vectors: Vectors,
    used: Rows,
    weight: Rows,
    k: int,
    *,
    seed: int,
    starts: int,
) -> Fit:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    model = KMeans(k, n_init=starts, random_state=seed)
    with threadpool_limits(1):  # several threads add up in an order of chance
        model.fit(vectors[used], sample_weight=weight.astype(np.float64))
        labels = model.predict(vectors).astype(np.int64)
    labels[used] = model.labels_
    centroids = model.cluster_centers_.astype(np.float32)
    return Fit(labels, centroids, float(model.inertia_), model.n_iter_, "scikit-learn")


def streamed(
    vectors: Vectors,
    rows: Rows,
    weight: Rows,
    k: int,
    *,
    seed: int,
    starts: int = 1,
    max_iterations: int = MAX_ITERATIONS,
    threads: int | None = None,
) -> Fit:
    """Lloyd's algorithm from k-means++ on a sample; the start with the lowest inertia.

    Args:
        vectors: [U, D], may be memory-mapped; as `refuse_useless` wants them.
        rows: [n], ascending: the vectors to fit on. The others only get a label.
        weight: [n], how often each of `rows` counts.
        threads: as many as numpy's products have where None; the result is the same for any.

    Returns:
        Labels are those of all vectors, [U].
    """
    from threadpoolctl import threadpool_info, threadpool_limits
    from tqdm import tqdm

    if threads is None:  # OMP_NUM_THREADS, or the cores there are
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        threads = max((pool["num_threads"] for pool in pools), default=1)
    random = np.random.RandomState(seed)  # what scikit-learn draws from
    rest = np.delete(np.arange(len(vectors)), rows)
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        fitted = Passes(vectors, rows, weight, pool)
        others = Passes(vectors, rest, np.zeros_like(rest), pool)
        fits = []
        for number in range(1, starts + 1):
            with tqdm(desc=f"k-means, start {number} of {starts}", unit="iteration") as bar:
                first = start(fitted, k, random)
                fits.append(lloyd(fitted, first, max_iterations, bar.update))
            fits = [min(fits, key=lambda fit: fit.inertia)]
        best, labels = fits[0], np.empty(len(vectors), np.int64)
        labels[rows] = best.labels
        found = np.empty(len(rest), np.int64)
        others.assign(best.centroids.astype(np.float64), found)
        labels[rest] = found
    return best._replace(labels=labels)


def start(fitted: Passes, k: int, random: np.random.RandomState) -> Vectors:
    """[k, D] vectors of a sample, picked by scikit-learn's k-means++."""
    from sklearn.cluster import kmeans_plusplus

    count = len(fitted.rows)
    size = max(k, min(START_ROWS * k, count // 8))
    sample = np.sort(random.choice(count, size, replace=False))
    found: Vectors = kmeans_plusplus(
        fitted.vectors[fitted.rows[sample]],
        k,
        sample_weight=fitted.weight[sample],
        random_state=random,
    )[0]
    return found


def lloyd(fitted: Passes, first: Vectors, max_iterations: int, after: Callable[[], object]) -> Fit:
    """Lloyd's algorithm from the given centroids; ends as scikit-learn's does."""
    centroids, labels = first.astype(np.float64), np.full(len(fitted.rows), -1, np.int64)
    iterations, moved = 0, -1
    while iterations < max_iterations:
        iterations, before = iterations + 1, centroids
        centroids, moved = step(fitted, before, labels)
        after()
        if not moved or ((centroids - before) ** 2).sum() <= TOLERANCE * fitted.variance:
            break
    if moved:
        fitted.assign(centroids, labels)
    inertia = float(fitted.weight @ fitted.distances(centroids, labels))
    return Fit(labels, centroids.astype(np.float32), inertia, iterations, "streamed")


def step(fitted: Passes, centroids: Numbers, labels: Rows) -> tuple[Numbers, int]:
    """An iteration: writes the labels, returns the new centroids and how many labels changed.

    As in scikit-learn, a cluster that is left without a row gets one of those that are farthest
    from their centroids.
    """
    sums, size, moved = fitted.assign(centroids, labels)
    empty = np.flatnonzero(size == 0)
    if len(empty):
        away = fitted.distances(centroids, labels)
        farthest = np.argpartition(away, -len(empty))[: -len(empty) - 1 : -1]
        if away.max() > 0:
            for cluster, row in zip(empty, farthest, strict=True):
                weight = fitted.weight[row]
                vector = weight * fitted.vectors[fitted.rows[row]].astype(np.float64)
                sums[labels[row]] -= vector
                size[labels[row]] -= weight
                sums[cluster], size[cluster] = vector, weight
    found = sums / np.maximum(size, 1)[:, None]
    found[size == 0] = found[size.argmax()]
    return found, moved
