"""Streamed K-Means against scikit-learn's, from the same start."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from mmts import kmeans, passes
from mmts.kmeans import Fit, lloyd, step, streamed
from mmts.passes import Passes, Vectors


def made(count: int, dim: int, seed: int = 0) -> tuple[Vectors, NDArray[np.int64]]:
    """Unit vectors around 12 centres, away from the origin, and how often each occurs."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((12, dim))
    vectors = 1 + centres[rng.integers(0, 12, count)] + rng.standard_normal((count, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), rng.integers(1, 6, count)


def from_start(
    vectors: Vectors, rows: NDArray[np.int64], weight: NDArray[np.int64], first: Vectors
) -> Fit:
    with ThreadPoolExecutor(2) as pool:
        fitted = Passes(vectors, rows, weight, pool)
        return lloyd(fitted, first, kmeans.MAX_ITERATIONS, lambda: None)


def theirs(vectors: Vectors, weight: NDArray[np.int64], first: Vectors) -> KMeans:
    model = KMeans(len(first), init=first, n_init=1, algorithm="lloyd")
    return model.fit(vectors, sample_weight=weight.astype(np.float64))


def same(ours: Fit, model: KMeans) -> None:
    np.testing.assert_array_equal(ours.labels, model.labels_)
    np.testing.assert_allclose(ours.centroids, model.cluster_centers_, atol=1e-5)
    assert ours.inertia == pytest.approx(model.inertia_, rel=1e-5)
    assert ours.iterations == model.n_iter_


@pytest.mark.parametrize("empty", [0, 1, 3])
def test_the_same_start_gives_what_scikit_learn_finds(empty: int) -> None:
    vectors, weight = made(22_000, 32)
    rows = np.flatnonzero(np.arange(22_000) % 11)  # with gaps
    first = vectors[rows[:14]].copy()
    first[5 : 5 + empty] = 40 + np.arange(empty)[:, None]  # nearest to none
    ours = from_start(vectors, rows, weight[rows], first)
    same(ours, theirs(vectors[rows], weight[rows], first))
    assert len(np.unique(ours.labels)) == 14 and 2 < ours.iterations < kmeans.MAX_ITERATIONS


@pytest.mark.parametrize("empty", [0, 1, 3])
def test_one_step_is_scikit_learns(empty: int) -> None:
    vectors, weight = made(500, 8)
    rows, weight = np.flatnonzero(np.arange(500) % 11), weight * 7  # with gaps
    first = vectors[rows[:14]].astype(np.float64)
    first[5 : 5 + empty] = 40 + np.arange(empty)[:, None]  # nearest to none
    labels = np.full(len(rows), -1)
    with ThreadPoolExecutor(2) as pool:
        found, moved = step(Passes(vectors, rows, weight[rows], pool), first, labels)
    model = KMeans(14, init=first, n_init=1, max_iter=1, algorithm="lloyd", tol=0)
    model.fit(vectors[rows], sample_weight=weight[rows].astype(np.float64))
    np.testing.assert_allclose(found, model.cluster_centers_, atol=1e-5)
    assert moved == len(rows) and len(np.unique(labels)) == 14 - empty


def test_it_ends_when_no_label_changes() -> None:
    vectors = np.array([[0, 0], [0, 1], [9, 0], [9, 1], [9, 2]], dtype=np.float32)
    weight = np.array([3, 1, 1, 2, 1])
    first = vectors[[0, 2]]
    ours = from_start(vectors, np.arange(5), weight, first)
    same(ours, theirs(vectors, weight, first))
    np.testing.assert_allclose(ours.centroids, [[0, 0.25], [9, 1]])
    assert ours.inertia == pytest.approx(3 / 16 + 9 / 16 + 2) and ours.iterations == 2


def test_more_clusters_than_points_that_differ() -> None:
    vectors = np.ones((5, 2), dtype=np.float32)
    ours = from_start(vectors, np.arange(5), np.ones(5, np.int64), vectors[:3] + 0.5)
    np.testing.assert_array_equal(ours.centroids, np.ones((3, 2)))
    assert ours.labels.tolist() == [0] * 5 and ours.inertia == 0


def test_threads_change_nothing_and_the_others_take_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "BLOCK_ROWS", 64)
    monkeypatch.setattr(passes, "PART_ROWS", 256)
    vectors, weight = made(3_001, 8)
    rows = np.sort(np.random.default_rng(1).choice(3_001, 2_000, replace=False))
    one, three = (
        streamed(vectors, rows, weight[rows], 12, seed=3, starts=2, threads=n) for n in (1, 3)
    )
    np.testing.assert_array_equal(one.labels, three.labels)
    np.testing.assert_array_equal(one.centroids, three.centroids)
    assert (one.inertia, one.iterations) == (three.inertia, three.iterations)
    away = ((vectors[:, None] - one.centroids.astype(np.float64)) ** 2).sum(-1)
    np.testing.assert_array_equal(one.labels, away.argmin(1))
    assert one.inertia == pytest.approx((away.min(1)[rows] * weight[rows]).sum(), rel=1e-5)


def test_the_best_start_is_kept() -> None:
    vectors, weight = made(3_000, 8)
    rows = np.arange(3_000)
    found = [streamed(vectors, rows, weight, 12, seed=1, starts=n).inertia for n in (1, 2, 3, 8)]
    assert found == sorted(found, reverse=True) and found[-1] < found[0]
    model = KMeans(12, n_init=8, random_state=0).fit(vectors, sample_weight=weight)
    assert found[-1] == pytest.approx(model.inertia_, rel=0.01)


def test_it_holds_no_copy(tmp_path: Path) -> None:
    vectors, weight = made(60_000, 64)
    np.save(tmp_path / "text.npy", vectors)
    mapped = np.load(tmp_path / "text.npy", mmap_mode="r")
    rows = np.flatnonzero(np.arange(60_000) % 10)
    arguments = (rows, weight[rows], 8)
    streamed(mapped, *arguments, seed=0, max_iterations=1)  # imports
    tracemalloc.start()
    try:
        streamed(mapped, *arguments, seed=0, max_iterations=2, threads=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.3 * vectors.nbytes
