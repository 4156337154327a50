import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmts.errors import InputError
from mmts.metrics.longtail import item_cluster, parts_of_clusters
from tests import reference


def test_cut_at_thirds_of_the_training_rows() -> None:
    # 30 rows in all: 12 | 8 before 20 | 10 before 30
    sizes = {0: 12, 1: 8, 2: 4, 3: 3, 4: 2, 5: 1}
    assert parts_of_clusters(sizes) == {
        0: "head", 1: "medium", 2: "tail", 3: "tail", 4: "tail", 5: "tail",
    }  # fmt: skip
    # a cluster that starts right at a third belongs to the next part
    assert parts_of_clusters({7: 10, 8: 10, 9: 10}) == {7: "head", 8: "medium", 9: "tail"}


def test_order_of_the_ids_does_not_matter_but_breaks_ties() -> None:
    assert parts_of_clusters({9: 1, 3: 1, 5: 1}) == {3: "head", 5: "medium", 9: "tail"}


def test_a_class_without_training_rows_is_tail() -> None:
    assert parts_of_clusters({0: 5, -1: 0}) == {0: "head", -1: "tail"}


@given(st.dictionaries(st.integers(0, 50), st.integers(0, 100), min_size=1))
def test_is_the_line_of_rows(sizes: dict[int, int]) -> None:
    if sum(sizes.values()) == 0:
        with pytest.raises(InputError, match="no cluster has a training row"):
            parts_of_clusters(sizes)
    else:
        assert parts_of_clusters(sizes) == reference.parts(sizes)


def test_an_item_has_its_captions_most_frequent_cluster() -> None:
    assert item_cluster([4, 7, 7, 2]) == 7
    assert item_cluster([4, 7, 7, 4]) == 4
    assert item_cluster([9]) == 9
    with pytest.raises(InputError, match="no caption"):
        item_cluster([])
