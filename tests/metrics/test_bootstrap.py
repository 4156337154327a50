import math

import numpy as np
import pytest

from mmts.metrics.bootstrap import interval, item_weights, resampled_shares
from tests import reference


def test_weights_draw_as_many_items_as_there_are_seeded() -> None:
    weights = item_weights(13, 200, seed=3)
    assert weights.shape == (200, 13) and (weights.sum(axis=1) == 13).all()
    assert np.array_equal(weights, item_weights(13, 200, seed=3))
    assert not np.array_equal(weights, item_weights(13, 200, seed=4))
    assert weights.mean() == 1 and (weights == 0).any() and (weights > 1).any()


def test_shares_are_the_plain_loop() -> None:
    rng = np.random.default_rng(0)
    item = rng.integers(0, 10, 25)
    hits = rng.random((25, 3)) < 0.4
    weights = item_weights(10, 40, seed=1)
    found = resampled_shares(weights, item, hits)
    assert found.shape == (40, 3)
    for r in range(40):
        for m in range(3):
            wanted = reference.resampled_share(
                weights[r].tolist(), item.tolist(), hits[:, m].tolist()
            )
            assert found[r, m] == pytest.approx(wanted)


def test_resamples_without_a_query_are_left_out() -> None:
    weights = np.array([[0, 2], [2, 0], [1, 1]], dtype=np.float32)
    found = resampled_shares(weights, np.array([0]), np.array([[True]]))
    assert math.isnan(found[0, 0]) and found[1:, 0].tolist() == [1, 1]
    assert interval(found[:, 0]) == (1, 1)


def test_interval_holds_the_middle_95_percent() -> None:
    low, high = interval(np.arange(1001, dtype=np.float64))
    assert (low, high) == pytest.approx((25, 975))
    low, high = interval(np.arange(1001, dtype=np.float64), level=0.5)
    assert (low, high) == pytest.approx((250, 750))


def test_interval_of_a_share_is_near_the_textbook_one() -> None:
    hits = np.arange(400) < 120
    samples = resampled_shares(item_weights(400, 4000, 0), np.arange(400), hits[:, None])[:, 0]
    half = 1.96 * math.sqrt(0.3 * 0.7 / 400)
    assert interval(samples) == pytest.approx((0.3 - half, 0.3 + half), abs=0.006)
