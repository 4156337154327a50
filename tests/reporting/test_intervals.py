"""Tables of queries against the arrays that loops make of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmts.errors import InputError
from mmts.kinds.measure import default_measure
from mmts.metrics.bootstrap import paired_interval
from mmts.reporting.intervals import Interval, paired_difference


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
DRAWS = {"resamples": 40, "seed": 5}
RECALL, MULTI_INSTANCE = default_measure(graded=False), default_measure(graded=True)


@pytest.mark.parametrize("part", [None, "tail"])
def test_the_hits_of_an_item_move_together(part: str | None) -> None:
    counts, gains = np.zeros((12, 2)), np.zeros((3, 12, 6))
    for sign, tables in ((1, METHOD), (-1, BASELINE)):
        for seed, table in enumerate(tables):
            for row in table.itertuples():
                if part in (None, row.part):
                    item, side = int(row.sample_id[1:]), ("t2v", "v2t").index(row.direction)
                    counts[item, side] += 1 / 6  # of 2 methods x 3 seeds
                    for column, k in enumerate((1, 5, 10)):
                        gains[seed, item, 3 * side + column] += 100 * sign * (row.rank <= k)
    found = paired_difference(RECALL, METHOD, BASELINE, part=part, **DRAWS)
    assert found is not None
    order = np.argsort([f"i{item}" for item in range(12)])  # which units get which draws
    wanted = paired_interval(gains[:, order], counts[order], **DRAWS)
    assert (found.value, found.low, found.high) == pytest.approx(wanted)
    assert found.low < found.value < found.high


def test_the_queries_of_map_move_alone() -> None:
    def graded(seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        rows = [("t2v", f"i{n}") for n in range(4)] + [("v2t", f"i{n}") for n in range(7)]
        table = pd.DataFrame(rows, columns=["direction", "query_id"])
        return table.assign(sample_id="one", AP=rng.uniform(size=11), nDCG=1.0).sample(
            frac=1, random_state=7
        )

    method, baseline = ([graded(10 * m + s) for s in range(2)] for m in range(2))
    gains = np.zeros((2, 11, 2))
    for seed in range(2):
        gained = 50 * (method[seed]["AP"] - baseline[seed]["AP"]).sort_index().to_numpy()
        gains[seed, :4, 0], gains[seed, 4:, 1] = gained[:4], gained[4:]
    found = paired_difference(MULTI_INSTANCE, method, baseline, **DRAWS)
    assert found is not None
    counts = np.repeat(np.eye(2), (4, 7), axis=0)
    wanted = paired_interval(gains, counts, **DRAWS)
    assert (found.value, found.low, found.high) == pytest.approx(wanted)


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


def test_a_difference_is_clear_where_the_bounds_as_shown_exclude_zero() -> None:
    assert Interval(0.4, 0.06, 0.8).above and Interval(-0.4, -0.8, -0.06).below
    for near in (Interval(0.4, 0.04, 0.8), Interval(-0.4, -0.8, -0.04), Interval(0.0, -1, 1)):
        assert not (near.clear or near.above or near.below)
