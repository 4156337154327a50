import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmts.errors import InputError
from mmts.shift import cluster_shift, shift_table
from tests import reference

PAPER = {"size_min": 10, "size_max": 110, "shift_min": 0.05, "shift_max": 0.20}


def test_by_hand() -> None:
    assert cluster_shift(10, **PAPER) == pytest.approx(0.05)
    assert cluster_shift(110, **PAPER) == pytest.approx(0.20)
    assert cluster_shift(60, **PAPER) == pytest.approx(0.125)
    assert cluster_shift(30, **PAPER) == pytest.approx(0.08)


def test_a_number_gives_a_float_an_array_an_array_of_its_shape() -> None:
    assert type(cluster_shift(30, **PAPER)) is float
    found = cluster_shift([[10, 30], [60, 110]], **PAPER)
    assert isinstance(found, np.ndarray) and found.dtype == np.float64
    np.testing.assert_allclose(found, [[0.05, 0.08], [0.125, 0.20]])


@given(
    st.lists(st.integers(1, 10**6), min_size=2, max_size=20).filter(lambda s: len(set(s)) > 1),
    st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip
def test_is_eq_6(sizes: list[int], low: float, width: float) -> None:
    found = cluster_shift(
        sizes, size_min=min(sizes), size_max=max(sizes), shift_min=low, shift_max=low + width
    )
    wanted = [reference.cluster_shift(s, sizes, low, low + width) for s in sizes]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_one_size_gives_the_middle_and_says_so() -> None:
    with pytest.warns(UserWarning, match=r"all clusters have 7 samples.*middle of 0.1..0.3"):
        found = cluster_shift([7, 7], size_min=7, size_max=7, shift_min=0.1, shift_max=0.3)
    np.testing.assert_allclose(found, [0.2, 0.2])
    with pytest.warns(UserWarning):
        one = cluster_shift(7, size_min=7, size_max=7, shift_min=0.1, shift_max=0.3)
    assert type(one) is float and one == pytest.approx(0.2)


def test_one_size_and_one_shift_needs_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cluster_shift(7, size_min=7, size_max=7, shift_min=0.1, shift_max=0.1) == 0.1


@pytest.mark.parametrize("size", [9, 111, math.nan])
def test_size_outside_the_training_sizes(size: float) -> None:
    with pytest.raises(InputError, match=rf"cluster_size {float(size)} is outside 10\.\.110"):
        cluster_shift([50, size], **PAPER)


def test_shifts_the_wrong_way_round() -> None:
    with pytest.raises(InputError, match=r"shift_min 0\.3 is above shift_max 0\.1"):
        cluster_shift(5, size_min=1, size_max=9, shift_min=0.3, shift_max=0.1)


@pytest.mark.parametrize("name", list(PAPER))
def test_bounds_must_be_finite(name: str) -> None:
    with pytest.raises(InputError, match="must be finite"):
        cluster_shift(50, **{**PAPER, name: math.inf})


def test_table_has_a_row_a_training_cluster() -> None:
    clusters = pd.DataFrame(
        {
            "cluster_id": np.array([2, 0, 0, 1, -1, 2, 0], dtype=np.int32),
            "cluster_size": np.array([5, 9, 9, 1, 0, 5, 9], dtype=np.int64),
        }
    )
    table = shift_table(clusters, shift_min=0.1, shift_max=0.5)
    assert table["cluster_id"].tolist() == [0, 1, 2]
    assert table["cluster_size"].tolist() == [9, 1, 5]
    np.testing.assert_allclose(table["shift"], [0.5, 0.1, 0.3])
    assert [str(t) for t in table.dtypes] == ["int32", "int64", "float64"]


def test_table_of_nothing() -> None:
    clusters = pd.DataFrame({"cluster_id": [-1], "cluster_size": [0]})
    with pytest.raises(InputError, match="no cluster has a training row"):
        shift_table(clusters, shift_min=0.1, shift_max=0.5)
