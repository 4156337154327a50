"""Bootstrap intervals: of a mean over queries, and of what one method gains over another.

Media items are resampled with all their queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CHUNK = 4_000_000  # numbers drawn at once
T_DRAWS = 20  # of Student's t to each resample: they cost little, and its tails are long


def item_weights(
    items: int, resamples: int, seed: int | Sequence[int] | np.random.Generator
) -> NDArray[np.float32]:
    """How often each item is drawn in each resample of the same size, [resamples, items]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float32)


def resampled_shares(
    weights: NDArray[np.float32], item: NDArray[np.int64], hits: NDArray[np.bool_] | Floats
) -> Floats:
    """Share of hits, or mean of another value, in each resample.

    Args:
        weights: [resamples, items] of `item_weights`.
        item: [Q], the media item of each query.
        hits: [Q, M], whether query q is a hit by metric m, or its value.

    Returns:
        [resamples, M]; NaN where a resample holds none of the queries.
    """
    items = weights.shape[1]
    queries = np.bincount(item, minlength=items).astype(np.float64)
    found = np.stack(
        [
            np.bincount(item, weights=column, minlength=items)
            for column in hits.T.astype(np.float64)
        ],
        axis=1,
        dtype=np.float64,
    )
    return _means(weights, found, queries[:, None])


def interval(samples: Floats, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of resampled values; resamples without queries are left out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def paired_interval(
    gains: Floats, counts: Floats, *, resamples: int, seed: int, level: float = 0.95
) -> tuple[float, float, float]:
    """What one method gains over another, and its bounds for other media items and other seeds.

    The gain of unit u with seed s is taken as mu + a_s + b_u + e_su, where a, b and e deviate by
    seed, by unit and by both. Units are many, so they are resampled. Seeds are too few for that:
    their part is the standard error over the gains of the seeds, times Student's t with S - 1
    degrees of freedom, which is right where those gains are near normal. That error holds e as well
    as a. So that e counts once, the deviations of the resampled units shrink by its share. The many
    units tell e, so seeds that agree by chance do not make the bounds narrower than it. With one
    seed only the units vary: the bounds do not tell how much another seed would change.

    Args:
        gains: [S, U, C], sums over the queries of unit u with seed s of one method's number less
            the other's: the columns of direction 0, then as many of direction 1.
        counts: [U, 2], queries of each unit in each direction; of a direction at least one.
        resamples: resamples of the units.
        seed: of all draws.
        level: share of the intervals that hold mu, in the long run.

    Returns:
        Value, low and high; the value is the mean over seeds of the sum over columns of the mean
        gain of a query.
    """
    seeds, units, _ = gains.shape
    of_units, of_seeds = np.random.default_rng(seed).spawn(2)
    chunk = max(1, CHUNK // units)
    sizes = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    weights: Iterable[NDArray[np.float32]]
    if len(sizes) > 1:
        weights = (item_weights(units, size, of_units) for size in sizes)
    else:
        weights = [_drawn_once(units, resamples, seed)]
    gain = gains.mean(axis=0)
    draws = np.concatenate([_means(part, gain, counts).sum(axis=1) for part in weights])
    means, influences = _linear(gains, counts)
    value = float(means.mean())
    if seeds > 1:
        both, residual = _variances(influences)
        kept = np.sqrt(max(0.0, 1 - residual / both)) if both else 0.0
        of_seed = _of_seeds(means, residual, level, of_seeds, (resamples, T_DRAWS))
        draws = value + kept * (draws - value)[:, None] + of_seed
    return value, *interval(draws, level)


@lru_cache(maxsize=4)
def _drawn_once(units: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """The draws of `paired_interval` where they are few, kept for the next interval."""
    return item_weights(units, resamples, np.random.default_rng(seed).spawn(2)[0])


def _means(weights: NDArray[np.float32], sums: Floats, counts: Floats) -> Floats:
    """Each column's sum over its number of queries in each resample, [resamples, columns].

    Args:
        weights: [resamples, units].
        sums: [units, columns].
        counts: [units, D], of which each is that of columns / D columns in turn.
    """
    drawn = weights.astype(np.float64)
    queries = np.repeat(drawn @ counts, sums.shape[1] // counts.shape[1], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = (drawn @ sums) / queries
    return means


def _linear(gains: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Each seed's gain, [S], and how far each unit moves it to first order, [S, U]."""
    queries = np.repeat(counts, gains.shape[2] // counts.shape[1], axis=1)
    total = queries.sum(axis=0)
    means = gains.sum(axis=1) / total
    influences: Floats = ((gains - means[:, None] * queries) / total).sum(axis=2)
    return means.sum(axis=1), influences


def _of_seeds(
    means: Floats, residual: float, level: float, rng: np.random.Generator, size: tuple[int, int]
) -> Floats:
    """Draws of the seeds' part: their standard error times Student's t, or e where it is wider."""
    error = float(means.std(ddof=1)) / np.sqrt(len(means))
    t = rng.standard_t(len(means) - 1, size)
    normal = rng.standard_normal(size)
    tail = (1 + level) / 2
    wide = error * np.quantile(t, tail) > np.sqrt(residual) * np.quantile(normal, tail)
    drawn: Floats = error * t if wide else np.sqrt(residual) * normal
    return drawn


def _variances(influences: Floats) -> tuple[float, float]:
    """Variances of the mean over seeds: what resampled units give it (b and e), and e alone.

    Args:
        influences: [S, U], with S above 1.
    """
    seeds = len(influences)
    mean = influences.mean(axis=0)
    residual = ((influences - mean) ** 2).sum() / (seeds * (seeds - 1))
    return float((mean**2).sum()), float(residual)
