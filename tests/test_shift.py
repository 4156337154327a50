import math
import warnings
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmts.errors import InputError
from mmts.kinds.shift import ShiftKind
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


def test_a_cluster_has_one_size() -> None:
    clusters = pd.DataFrame({"cluster_id": [0, 1, 1], "cluster_size": [1, 2, 3]})
    with pytest.raises(InputError, match="cluster 1 has more than one size"):
        shift_table(clusters, shift_min=0.1, shift_max=0.5)


def test_table_of_nothing() -> None:
    clusters = pd.DataFrame({"cluster_id": [-1], "cluster_size": [0]})
    with pytest.raises(InputError, match="no cluster has a training row"):
        shift_table(clusters, shift_min=0.1, shift_max=0.5)


# --- other mappings ------------------------------------------------------------------------------

ZIPF = [max(2, round(3600 / (n + 1))) for n in range(290)]  # a long tail such as EK-100's nouns
ALL = ("linear", "log", "rank")


def of_sizes(sizes: list[int], mapping: str, low: float = 0.17, high: float = 0.30) -> np.ndarray:
    found = cluster_shift(
        sizes, size_min=min(sizes), size_max=max(sizes), shift_min=low, shift_max=high,
        mapping=mapping, sizes=sizes,
    )  # fmt: skip
    assert isinstance(found, np.ndarray)
    return found


def test_log_by_hand() -> None:
    np.testing.assert_allclose(of_sizes([1, 10, 100], "log", 0.1, 0.5), [0.1, 0.3, 0.5])
    assert cluster_shift(
        4, size_min=2, size_max=16, shift_min=0, shift_max=3, mapping="log"
    ) == pytest.approx(1)


def test_rank_by_hand() -> None:
    np.testing.assert_allclose(of_sizes([7, 1000, 8], "rank", 0.1, 0.5), [0.1, 0.5, 0.3])
    # ranks 1, 2 and 3 (their mean, 2.5), 4, 5
    np.testing.assert_allclose(of_sizes([3, 5, 5, 6, 9], "rank", 0, 4), [0, 1.5, 1.5, 3, 4])
    # the smallest are many: their mean rank is the lower end
    np.testing.assert_allclose(of_sizes([2, 2, 2, 4, 8], "rank", 0, 1), [0, 0, 0, 2 / 3, 1])


def test_rank_of_a_size_that_no_cluster_has_is_interpolated() -> None:
    sizes = {"size_min": 10, "size_max": 30, "sizes": [30, 10, 20]}
    found = cluster_shift([10, 15, 28], **sizes, shift_min=0, shift_max=1, mapping="rank")  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [0, 0.25, 0.9])


@given(
    st.lists(st.integers(1, 10**6), min_size=2, max_size=20).filter(lambda s: len(set(s)) > 1),
    st.floats(0, 1), st.floats(0, 1), st.sampled_from(ALL),
)  # fmt: skip
def test_every_mapping_rises_from_end_to_end(
    sizes: list[int], low: float, width: float, mapping: str
) -> None:
    high = low + width
    found = of_sizes(sizes, mapping, low, high)
    assert found[sizes.index(min(sizes))] == low and found[sizes.index(max(sizes))] == high
    assert (np.diff(found[np.argsort(sizes)]) >= -1e-12).all()
    assert (found >= low).all() and (found <= high + 1e-12).all()


@pytest.mark.parametrize("mapping", ALL)
def test_the_ends_are_exact_where_their_difference_is_not(mapping: str) -> None:
    assert (0.46 - 0.03) + 0.03 != 0.46
    assert of_sizes([1, 5, 9], mapping, 0.03, 0.46)[[0, 2]].tolist() == [0.03, 0.46]


def test_what_a_long_tail_does_to_each_mapping() -> None:
    median = {mapping: float(np.median(of_sizes(ZIPF, mapping))) for mapping in ALL}
    assert median["linear"] == pytest.approx(0.17 + 0.13 * (25 - 12) / (3600 - 12), abs=2e-4)
    assert median["log"] == pytest.approx(0.17 + 0.13 * math.log(25 / 12) / math.log(300), abs=1e-3)
    assert median["rank"] == pytest.approx((0.17 + 0.30) / 2, abs=2e-3)
    assert median["linear"] < 0.172 < 0.18 < median["log"] < median["rank"]


@pytest.mark.parametrize("mapping", ALL)
def test_one_size_is_the_middle_in_every_mapping(mapping: str) -> None:
    with pytest.warns(UserWarning, match="middle of 0.1..0.3"):
        np.testing.assert_allclose(of_sizes([5, 5, 5], mapping, 0.1, 0.3), [0.2] * 3)


class Falling(ShiftKind):
    """The other way round: the smallest cluster gets shift_max."""

    kind: Literal["falling"] = "falling"
    label = "falling"

    def place(self, size: Any, *, size_min: float, size_max: float, sizes: Any) -> Any:
        return (size_max - size) / (size_max - size_min)


class Beyond(Falling):
    """One that leaves its range."""

    kind: Literal["beyond"] = "beyond"  # type: ignore[assignment]

    def place(self, size: Any, *, size_min: float, size_max: float, sizes: Any) -> Any:
        return 1 + size / size_max - size_min / size_max


def test_a_mapping_may_fall() -> None:
    found = cluster_shift([1, 2, 5], size_min=1, size_max=5, shift_min=0.03, shift_max=0.46,
                          mapping=Falling())  # fmt: skip
    assert found == pytest.approx([0.46, 0.3525, 0.03])
    assert cluster_shift(1, size_min=1, size_max=5, shift_min=0.03, shift_max=0.46,
                         mapping=Falling()) == 0.46  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mapping": "sqrt"}, "mapping is 'sqrt'; there are: linear, log, rank"),
        ({"mapping": 3}, "mapping is 3; there are: linear, log, rank"),
        (
            {"mapping": Beyond()},
            "the shift beyond puts a cluster at 1.36364; mend its `place`",
        ),
        ({"mapping": "log", "size_min": 0}, "size_min is 0; mapping log needs sizes above 0"),
        ({"mapping": "rank"}, "mapping rank needs sizes"),
        ({"mapping": "rank", "sizes": []}, "sizes are empty"),
        ({"mapping": "rank", "sizes": [10, 90]}, r"sizes are 10\.\.90, but .* are 10 and 110"),
    ],
)
def test_mappings_that_cannot_be(more: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cluster_shift(50, **{**PAPER, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("mapping", ALL)
def test_the_table_takes_a_mapping(mapping: str) -> None:
    sizes = [100, 10, 10, 1]
    clusters = pd.DataFrame({"cluster_id": np.arange(4), "cluster_size": sizes})
    table = shift_table(clusters, shift_min=0.1, shift_max=0.5, mapping=mapping)
    np.testing.assert_allclose(table["shift"], of_sizes(sizes, mapping, 0.1, 0.5))
