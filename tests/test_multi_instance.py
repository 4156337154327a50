import numpy as np
import pytest

from mmts.errors import InputError
from mmts.metrics.mir import mean_average_precision, ndcg, relevancy
from mmts.multi_instance import Group, groups_of_classes, multi_instance_metrics, table
from tests.metrics import mir_reference

VIDEOS = [(0, (1,)), (0, (2,)), (5, (1,)), (5, (1, 2)), (0, (1,))]
TEXTS = [(0, (1,)), (0, (2,)), (5, (1,)), (5, (2, 1))]
RELEVANCY = relevancy(VIDEOS, TEXTS)
SCORES = np.random.default_rng(0).random((5, 4))


def test_all_queries_have_the_metrics_of_the_functions() -> None:
    found = multi_instance_metrics(SCORES, RELEVANCY, {}, resamples=100, seed=0)
    assert list(found) == ["all"]
    for name, values in (
        ("mAP", mean_average_precision(SCORES, RELEVANCY)),
        ("nDCG", ndcg(SCORES, RELEVANCY)),
    ):
        for direction, value in values.items():
            key = f"{name}/{direction}"
            assert found["all"][key] == pytest.approx(value)
            assert found["all"][f"{key}/low"] <= value <= found["all"][f"{key}/high"]
    assert found["all"]["queries/v2t"] == 5 and found["all"]["queries/t2v"] == 4


def test_a_group_is_of_queries_not_of_what_they_are_ranked_against() -> None:
    group = Group(
        np.array([True, False, False, True, False]), np.array([False, True, False, False])
    )
    found = multi_instance_metrics(SCORES, RELEVANCY, {"some": group}, resamples=100, seed=0)[
        "some"
    ]
    of_row = [
        mir_reference.average_precision(SCORES[i].tolist(), RELEVANCY[i].tolist()) for i in (0, 3)
    ]
    of_column = mir_reference.average_precision(SCORES[:, 1].tolist(), RELEVANCY[:, 1].tolist())
    assert found["mAP/v2t"] == pytest.approx(np.mean(of_row))
    assert found["mAP/t2v"] == pytest.approx(of_column)
    assert found["mAP/avg"] == pytest.approx((np.mean(of_row) + of_column) / 2)
    assert found["queries/v2t"] == 2 and found["queries/t2v"] == 1


def test_groups_of_tail_classes() -> None:
    tail = {"verb": frozenset({5}), "noun": frozenset({2, 7})}
    groups = groups_of_classes(VIDEOS, TEXTS, tail)
    assert groups["tail verbs"].v2t.tolist() == [False, False, True, True, False]
    assert groups["tail nouns"].v2t.tolist() == [False, True, False, True, False]
    assert groups["neither"].v2t.tolist() == [True, False, False, False, True]
    assert groups["neither"].t2v.tolist() == [True, False, False, False]
    assert groups_of_classes(VIDEOS, TEXTS, {"verb": frozenset({5})}) == {}
    nothing = {"none": Group(np.zeros(5, dtype=bool), np.ones(4, dtype=bool))}
    found = multi_instance_metrics(SCORES, RELEVANCY, groups | nothing, resamples=100, seed=0)
    assert list(found) == ["all", "tail verbs", "tail nouns", "neither"]
    lines = table(found).splitlines()
    assert lines[0].split()[:5] == ["queries", "v2t", "t2v", "mAP", "v2t"]
    assert len(lines) == 7 and f"{100 * found['all']['nDCG/avg']:.2f}" in lines[1]
    assert "interval of mAP avg" in lines[5]


def test_a_query_without_anything_relevant() -> None:
    alone = relevancy([*VIDEOS, (9, (9,))], TEXTS)
    with pytest.raises(InputError, match="v2t query row 5 of relevancy has no item"):
        multi_instance_metrics(np.ones((6, 4)), alone, {}, resamples=100, seed=0)
