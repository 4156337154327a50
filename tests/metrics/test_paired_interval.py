"""The interval of a difference: how often it holds the truth, and the same by slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from mmts.metrics import bootstrap
from mmts.metrics.bootstrap import T_DRAWS, item_weights, paired_interval

Array = NDArray[np.float64]
ITEMS = 150
COUNTS = np.stack([np.arange(ITEMS) % 3 + 1.0, np.ones(ITEMS)], axis=1)


def _study(
    rng: np.random.Generator, seeds: int, *, effect: float, common: float, spread: float
) -> Array:
    """Hits of a method less those of a baseline, [seeds, ITEMS, 2]; the baseline hits 0.5.

    The captions of an item and the item itself are hit or missed together. A share `common` of the
    items is hit by a method with every seed or none; the others each time anew. The seeds of the
    method differ by `spread`.
    """
    luck = np.where(
        rng.random(ITEMS) < common, rng.random((2, 1, ITEMS)), rng.random((2, seeds, ITEMS))
    )
    shifts = effect + spread * rng.standard_normal((seeds, 1))
    gain = (luck[0] < 0.5 + shifts).astype(np.float64) - (luck[1] < 0.5)
    return gain[:, :, None] * COUNTS


@pytest.mark.parametrize(
    ("seeds", "effect", "common", "spread"),
    [
        pytest.param(3, 0.03, 1 / 4, 0.17, id="the seeds dominate"),
        pytest.param(3, 0.03, 0, 0.1, id="seeds above the residual"),
        pytest.param(5, 0.03, 0, 0, id="the residual dominates"),
        pytest.param(5, 0.03, 1, 0, id="the items dominate"),
        pytest.param(5, 0, 1 / 6, 0.052, id="all alike, no effect"),
    ],
)
def test_95_percent_of_the_intervals_hold_the_truth(
    seeds: int, effect: float, common: float, spread: float
) -> None:
    rng, trials, held = np.random.default_rng(0), 300, 0
    for trial in range(trials):
        gains = _study(rng, seeds, effect=effect, common=common, spread=spread)
        _, low, high = paired_interval(gains, COUNTS, resamples=200, seed=trial)
        held += low <= 2 * effect <= high
    assert abs(held - 0.95 * trials) < 3 * math.sqrt(0.95 * 0.05 * trials)


def _value(gains: Array, counts: Array, times: list[float]) -> float:
    """The mean over seeds of the summed means, where unit u counts times[u]."""
    total = 0.0
    for of_seed in gains:
        for column in range(4):
            gained = sum(t * gain[column] for t, gain in zip(times, of_seed, strict=True))
            total += gained / sum(t * n[column // 2] for t, n in zip(times, counts, strict=True))
    return total / len(gains)


def _variances(gains: Array, counts: Array) -> tuple[float, float]:
    """Of the value under other units, and the residual's part in it, by moving each weight."""
    seeds, units = gains.shape[:2]
    both = residual = 0.0
    for u in range(units):
        moved = []
        for of_seed in gains:
            up, down = [1.0] * units, [1.0] * units
            up[u], down[u] = 1.0001, 0.9999
            ends = [_value(of_seed[None], counts, times) for times in (up, down)]
            moved.append((ends[0] - ends[1]) / 0.0002)
        mean = sum(moved) / seeds
        both += mean**2
        residual += sum((m - mean) ** 2 for m in moved) / max(1, seeds * (seeds - 1))
    return both, residual


@pytest.mark.parametrize(("seeds", "agreeing"), [(1, False), (3, False), (3, True)])
def test_the_interval_is_that_of_slow_loops(seeds: int, agreeing: bool) -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(1, 4, size=(12, 2)).astype(np.float64)
    items = rng.normal(size=(1, 12, 1))  # else the part of the units may be 0
    gains = (items + rng.normal(size=(seeds, 12, 4))) * counts[:, [0, 0, 1, 1]]
    even = [1.0] * 12
    if agreeing:  # the seeds' values, so that only the residual tells how they differ
        for of_seed in gains:
            each = of_seed.sum(axis=0) / counts.sum(axis=0)[[0, 0, 1, 1]]
            of_seed -= each * counts[:, [0, 0, 1, 1]]
    value = _value(gains, counts, even)
    each = [_value(of_seed[None], counts, even) for of_seed in gains]
    both, residual = _variances(gains, counts)
    assert 0 <= residual < both
    of_units, of_seeds = np.random.default_rng(5).spawn(2)
    error = math.sqrt(sum((e - value) ** 2 for e in each) / max(1, seeds * (seeds - 1)))
    t = error * of_seeds.standard_t(seeds - 1, (40, T_DRAWS)) if seeds > 1 else np.zeros((40, 1))
    normal = math.sqrt(residual) * of_seeds.standard_normal((40, T_DRAWS)) if seeds > 1 else t
    times = item_weights(12, 40, of_units)
    moved = [_value(gains, counts, list(row)) - value for row in times]
    for level in (0.95, 0.5):
        tail = (1 + level) / 2
        assert not agreeing or np.quantile(normal, tail) > np.quantile(t, tail)
        wider = max(t, normal, key=lambda draws: float(np.quantile(draws, tail)))
        draws = [
            value + math.sqrt(1 - residual / both) * of_unit + further
            for of_unit, row in zip(moved, wider.tolist(), strict=True)
            for further in row
        ]
        found = paired_interval(gains, counts, resamples=40, seed=5, level=level)
        bounds = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        assert found == pytest.approx((value, *bounds))


def test_chunks_do_not_change_the_draws_but_the_seed_does(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = _study(np.random.default_rng(1), 3, effect=0, common=0.5, spread=0.1)
    whole = paired_interval(gains, COUNTS, resamples=50, seed=1)
    assert whole != paired_interval(gains, COUNTS, resamples=50, seed=2)
    monkeypatch.setattr(bootstrap, "CHUNK", ITEMS * 7)
    assert paired_interval(gains, COUNTS, resamples=50, seed=1) == pytest.approx(whole, rel=1e-12)


def test_both_methods_get_the_same_draws() -> None:
    """Every query gains 0.25 with every seed, so whichever are drawn the gain is that."""
    gains = np.stack([0.25 * COUNTS] * 3)
    assert paired_interval(gains, COUNTS, resamples=50, seed=0) == (0.5, 0.5, 0.5)
    assert paired_interval(0 * gains, COUNTS, resamples=50, seed=0) == (0, 0, 0)


def test_resamples_without_the_few_queries_of_a_part_are_left_out() -> None:
    counts = np.zeros((20, 2))
    counts[:2] = [[2, 0], [1, 1]]
    gains = np.stack([counts * gain for gain in (0.0, 0.25, 0.5)])
    value, low, high = paired_interval(gains, counts, resamples=200, seed=0)
    assert value == 0.5
    assert -1 < low < 0 and 1 < high < 2  # 0.5 +- 4.3 * 0.29
