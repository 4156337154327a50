"""The bootstrap against loops over the same draws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmts.errors import InputError
from mmts.reporting import intervals
from mmts.reporting.intervals import paired_difference, weights
from mmts.reporting.measure import MULTI_INSTANCE, RECALL


def _queries(seed: int, hard: int) -> pd.DataFrame:
    """12 items with 1 to 3 captions each."""
    rng = np.random.default_rng([seed, hard])
    rows = []
    for item in range(12):
        rows.append(("v2t", f"i{item}", rng.integers(1, hard), "tail" if item % 3 else "head"))
        for _ in range(item % 3 + 1):
            part = rng.choice(["head", "tail"]) if item else "head"
            rows.append(("t2v", f"i{item}", rng.integers(1, hard), part))
    table = pd.DataFrame(rows, columns=["direction", "sample_id", "rank", "part"])
    table["part"] = np.where(np.arange(len(table)) % 2, "head", "tail")
    return table


METHOD = [_queries(seed, 12) for seed in range(3)]
BASELINE = [_queries(seed, 20) for seed in range(3)]


def _rsum(tables: list[pd.DataFrame], items: dict[str, float], shares: list[float]) -> float:
    """rsum in percent points: a loop over seeds, directions, k and queries."""
    total = 0.0
    for table, share in zip(tables, shares, strict=True):
        for direction in ("t2v", "v2t"):
            for k in (1, 5, 10):
                hits = queries = 0.0
                for row in table.itertuples():
                    if row.direction == direction:
                        queries += items[row.sample_id]
                        hits += items[row.sample_id] * (row.rank <= k)
                total += share * 100 * hits / queries
    return total


@pytest.mark.parametrize("part", [None, "tail"])
def test_the_interval_is_that_of_a_loop_over_the_same_draws(part: str | None) -> None:
    found = paired_difference(RECALL, METHOD, BASELINE, resamples=40, seed=5, part=part)
    assert found is not None
    kept = [[t if part is None else t[t["part"] == part] for t in m] for m in (METHOD, BASELINE)]
    names = sorted(METHOD[0]["sample_id"].unique())
    draws = []
    for drawn, shares in weights(12, 3, 40, 5):
        for row, share in zip(drawn, shares, strict=True):
            items = dict(zip(names, row, strict=True))
            draws.append(_rsum(kept[0], items, list(share)) - _rsum(kept[1], items, list(share)))
    even = dict.fromkeys(names, 1.0)
    value = _rsum(kept[0], even, [1 / 3] * 3) - _rsum(kept[1], even, [1 / 3] * 3)
    assert len(draws) == 40
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_the_interval_of_map_is_that_of_a_loop_over_the_same_draws() -> None:
    def graded(seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        rows = [("v2t", f"i{n}") for n in range(7)] + [("t2v", f"i{n}") for n in range(4)]
        table = pd.DataFrame(rows, columns=["direction", "query_id"])
        return table.assign(sample_id="one", AP=rng.uniform(size=11))

    tables = [[graded(10 * m + s) for s in range(2)] for m in range(2)]
    found = paired_difference(MULTI_INSTANCE, *tables, resamples=30, seed=3)
    assert found is not None

    def value(drawn: dict[str, float], shares: list[float]) -> float:
        total = 0.0
        for sign, of_method in zip((1, -1), tables, strict=True):
            for table, share in zip(of_method, shares, strict=True):
                for direction in ("v2t", "t2v"):
                    rows = [r for r in table.itertuples() if r.direction == direction]
                    times = [drawn[f"{direction} {r.query_id}"] for r in rows]
                    hits = sum(t * r.AP for t, r in zip(times, rows, strict=True))
                    total += sign * share * 50 * hits / sum(times)
        return total

    names = sorted(f"{r.direction} {r.query_id}" for r in tables[0][0].itertuples())
    draws = [
        value(dict(zip(names, row, strict=True)), list(shares))
        for units, seeds in weights(11, 2, 30, 3)
        for row, shares in zip(units, seeds, strict=True)
    ]
    assert found.value == pytest.approx(value(dict.fromkeys(names, 1.0), [0.5, 0.5]))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(weights(12, 3, 50, 1))
    monkeypatch.setattr(intervals, "CHUNK", 12 * 7)
    chunks = list(weights(12, 3, 50, 1))
    assert (len(whole), len(chunks)) == (1, 8)
    for of_whole, of_chunks in zip(whole[0], zip(*chunks, strict=True), strict=True):
        assert np.array_equal(of_whole, np.concatenate(of_chunks))


def test_draws_have_as_many_items_and_seeds_as_there_are() -> None:
    [(items, seeds)] = weights(12, 3, 50, 1)
    assert (items.sum(axis=1) == 12).all()
    assert seeds.sum(axis=1) == pytest.approx(np.ones(50))
    assert items.std() > 0.5
    assert seeds.std() > 0.1


def test_a_method_does_not_differ_from_itself() -> None:
    same = paired_difference(RECALL, METHOD, METHOD, resamples=50, seed=0)
    assert same is not None
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.clear


def test_a_part_without_queries_has_no_interval() -> None:
    assert paired_difference(RECALL, METHOD, BASELINE, resamples=10, seed=0, part="medium") is None


def test_other_queries_or_items_are_refused() -> None:
    fewer = [table.iloc[:-1] for table in BASELINE]
    with pytest.raises(InputError, match="different queries"):
        paired_difference(RECALL, METHOD, fewer, resamples=10, seed=0)
    others = [table.replace({"sample_id": {"i3": "new"}}) for table in BASELINE]
    with pytest.raises(InputError, match="different media items"):
        paired_difference(RECALL, METHOD, others, resamples=10, seed=0)
