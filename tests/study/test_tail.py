from __future__ import annotations

import numpy as np
import pytest

from mmts.errors import InputError
from mmts.study.tail import drawn, tail_sizes


def test_by_hand() -> None:
    """Three quarters of 40 items are all 30 of the first class, and half of 40 all of the other."""
    available = np.array([30, 20])
    assert tail_sizes(available, 3, 3).tolist() == [30, 10]
    assert tail_sizes(available, 1, 3).tolist() == [20, 20]
    assert tail_sizes(np.array([40, 40]), 3, 3).tolist() == [40, 13]  # three quarters of 53 1/3
    assert tail_sizes(np.array([40, 40]), 1, 3).tolist() == [26, 26]


@pytest.mark.parametrize("seed", range(6))
def test_shape_total_and_what_there_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, largest = int(rng.integers(2, 30)), float(rng.uniform(1, 150))
    available = np.sort(rng.integers(300, 2000, classes))[::-1].astype(np.int64)
    totals = []
    for ratio in [1.0, largest, *rng.uniform(1, largest, 5)]:
        sizes = tail_sizes(available, ratio, largest)
        assert (sizes <= available).all() and (np.diff(sizes) <= 0).all() and sizes[-1] >= 1
        power = np.log(ratio) / np.log(classes)
        shares = np.arange(1, classes + 1) ** -power
        assert abs(sizes - sizes.sum() * shares / shares.sum()).max() <= classes / 2 + 1
        assert (
            sizes[0] / (sizes[-1] + 1)
            <= ratio * (1 + 1e-9)
            <= (sizes[0] + 1) / sizes[-1] * (1 + 1e-9)
        )
        totals.append(int(sizes.sum()))
    assert max(totals) - min(totals) <= classes
    assert any(tail_sizes(available, r, largest)[c] >= available[c] - 1  # no item more would do
               for r in np.geomspace(1, largest, 32) for c in range(classes))  # fmt: skip


def test_what_cannot_be_drawn() -> None:
    for ratio in (0.5, 11):
        with pytest.raises(InputError, match=r"imbalance is .*; it must be from 1 to tail\.larg"):
            tail_sizes(np.array([5, 5]), ratio, 10)
    for available in ([9, 8, 0], [9, 2, 1]):
        with pytest.raises(InputError, match="imbalance 10 leaves a class of 3 without an item of"):
            tail_sizes(np.array(available), 10, 10)


def test_drawn() -> None:
    of_item = np.random.default_rng(0).integers(0, 3, 60)
    sizes = np.array([10, 5, 1])
    items = drawn(of_item, sizes, 4)
    assert np.bincount(of_item[items]).tolist() == sizes.tolist()
    assert (np.diff(items) > 0).all()  # each once, in order
    assert items.tolist() == drawn(of_item, sizes, 4).tolist()
    others = [drawn(of_item, sizes, seed) for seed in range(200)]
    assert len({tuple(other) for other in others}) == 200
    everything = np.bincount(of_item)
    assert drawn(of_item, everything, 0).tolist() == list(range(60))
    assert set(np.concatenate(others)) == set(range(60))  # any item may be drawn
