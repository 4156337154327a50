import numpy as np
import pytest

from mmts.errors import InputError
from mmts.metrics.groups import Metrics, group_metrics, groups_of_names, groups_of_parts
from mmts.metrics.mir import Ids, mean_average_precision, ndcg, query_values, relevancy
from mmts.metrics.scores import Both
from stages.mir import multi_instance_metrics, table
from tests import reference
from tests.metrics import mir_reference

VIDEOS = [(0, (1,)), (0, (2,)), (5, (1,)), (5, (1, 2)), (0, (1,))]
TEXTS = [(0, (1,)), (0, (2,)), (5, (1,)), (5, (2, 1))]
IDS = Ids([f"v{n}" for n in range(5)], [f"t{n}" for n in range(4)])
RELEVANCY = relevancy(VIDEOS, TEXTS)
SCORES = np.random.default_rng(0).random((5, 4))
VALUES = query_values(SCORES, RELEVANCY, IDS)


def metrics(groups: dict[str, Both] | None = None, **bootstrap: int) -> Metrics:
    return multi_instance_metrics(VALUES, groups or {}, **{"resamples": 100, "seed": 0} | bootstrap)


def test_all_queries_have_the_metrics_of_the_functions() -> None:
    found = metrics()
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
    group = Both(
        v2t=np.array([True, False, False, True, False]), t2v=np.array([False, True, False, False])
    )
    found = metrics({"some": group})["some"]
    of_row = [
        mir_reference.average_precision(SCORES[i].tolist(), RELEVANCY[i].tolist()) for i in (0, 3)
    ]
    of_column = mir_reference.average_precision(SCORES[:, 1].tolist(), RELEVANCY[:, 1].tolist())
    assert found["mAP/v2t"] == pytest.approx(np.mean(of_row))
    assert found["mAP/t2v"] == pytest.approx(of_column)
    assert found["mAP/avg"] == pytest.approx((np.mean(of_row) + of_column) / 2)
    assert found["queries/v2t"] == 2 and found["queries/t2v"] == 1


def test_intervals_draw_both_directions_independently() -> None:
    group = Both(
        v2t=np.array([True, True, False, True, False]), t2v=np.array([True, True, True, False])
    )
    found = metrics({"some": group}, resamples=200, seed=3)
    for name, *queries in (("all", range(5), range(4)), ("some", [0, 1, 3], [0, 1, 2])):
        drawn = []
        for stream, (direction, count) in enumerate((("v2t", 5), ("t2v", 4))):
            rng = np.random.default_rng([3, stream])
            weights = rng.multinomial(count, [1 / count] * count, size=200).tolist()
            items = list(queries[stream])
            values = getattr(VALUES.ndcg, direction)[items].tolist()
            shares = [reference.resampled_share(w, items, values) for w in weights]
            drawn.append(np.array(shares, dtype=float))  # NaN where none of the group is drawn
        both = (drawn[0] + drawn[1]) / 2
        for key, samples in (("v2t", drawn[0]), ("t2v", drawn[1]), ("avg", both)):
            bounds = [found[name][f"nDCG/{key}/{end}"] for end in ("low", "high")]
            assert bounds == pytest.approx(np.nanquantile(samples, [0.025, 0.975]).tolist())


def test_equal_values_of_both_directions_are_not_drawn_alike() -> None:
    scores, gains = SCORES[:4] + SCORES[:4].T, relevancy(TEXTS, TEXTS)
    values = query_values(scores, gains, Ids(IDS.t2v, IDS.t2v))
    found = multi_instance_metrics(values, {}, resamples=100, seed=0)["all"]
    assert found["nDCG/v2t"] == found["nDCG/t2v"]
    width = {d: found[f"nDCG/{d}/high"] - found[f"nDCG/{d}/low"] for d in ("v2t", "avg")}
    assert 0 < width["avg"] < width["v2t"]


def test_intervals_narrow_with_more_queries() -> None:
    rng = np.random.default_rng(1)
    width = []
    for repeat in (1, 16):
        videos, texts = VIDEOS * repeat, TEXTS * repeat
        gains = relevancy(videos, texts)
        ids = Ids([""] * len(videos), [""] * len(texts))
        values = query_values(rng.random(gains.shape), gains, ids)
        found = multi_instance_metrics(values, {}, resamples=300, seed=0)["all"]
        width.append(found["nDCG/avg/high"] - found["nDCG/avg/low"])
    assert 0 < width[1] < width[0] / 2


def test_groups_by_name_and_by_part() -> None:
    videos = [[], ["tail_noun"], ["tail_verb"], ["tail_verb", "tail_noun"], []]
    texts = [[], ["tail_noun"], ["tail_verb"], ["tail_verb", "tail_noun"]]
    groups = groups_of_names(texts, videos)
    assert list(groups) == ["tail_noun", "tail_verb", "neither"]
    assert groups["tail_verb"].v2t.tolist() == [False, False, True, True, False]
    assert groups["tail_noun"].v2t.tolist() == [False, True, False, True, False]
    assert groups["neither"].v2t.tolist() == [True, False, False, False, True]
    assert groups["neither"].t2v.tolist() == [True, False, False, False]
    assert groups_of_names([[]], [[], []]) == {}
    assert list(groups_of_names([["one"]], [[], []])) == ["one", "neither"]
    parts = groups_of_parts(["medium", "tail"], ["head", "tail", "tail"])
    assert {name: (g.v2t.tolist(), g.t2v.tolist()) for name, g in parts.items()} == {
        "head": ([True, False, False], [False, False]),
        "medium": ([False, False, False], [True, False]),
        "tail": ([False, True, True], [False, True]),
    }


def test_the_table_has_a_line_a_group() -> None:
    names = [[], ["tail_noun"], ["tail_verb"], [], []]
    nothing = {"none": Both(v2t=np.zeros(5, dtype=bool), t2v=np.ones(4, dtype=bool))}
    found = metrics(groups_of_names(names[:4], names) | nothing)
    assert list(found) == ["all", "tail_noun", "tail_verb", "neither"]
    lines = table(found).splitlines()
    assert lines[0].split()[:5] == ["queries", "v2t", "t2v", "mAP", "v2t"]
    assert len(lines) == 7 and f"{100 * found['all']['nDCG/avg']:.2f}" in lines[1]
    assert lines[2].startswith("tail noun ") and len({len(line) for line in lines[:5]}) == 1
    assert "interval of mAP avg" in lines[5]


def test_a_query_without_anything_relevant_is_named() -> None:
    alone = relevancy([*VIDEOS, (9, (9,))], TEXTS)
    ids = Ids([*IDS.v2t, "P09_01_5"], IDS.t2v)
    with pytest.raises(InputError, match="v2t query P09_01_5 has no sentence of relevancy 1, one"):
        query_values(np.ones((6, 4)), alone, ids)
    ids = Ids(IDS.t2v, ids.v2t)
    with pytest.raises(InputError, match="t2v query P09_01_5 has no clip of relevancy 1, one"):
        query_values(np.ones((4, 6)), alone.T, ids)
    none = relevancy([(9, (9,)), *VIDEOS, (9, (8,)), (8, (8,))], TEXTS)
    ids = Ids([f"v{n}" for n in range(8)], IDS.t2v)
    with pytest.raises(InputError, match=r"query v0 has .* \(so have 2 others of 8\); put back"):
        query_values(np.ones((8, 4)), none, ids)


def test_items_are_drawn_with_all_their_queries_in_both_directions() -> None:
    hits = Both(np.array([1.0, 0, 1, 1]), np.array([0.0, 1, 1]))
    of_item = Both(np.array([0, 1, 1, 2]), np.arange(3))
    tail = Both(np.array([False, True, True, True]), np.array([False, True, True]))
    found = group_metrics(
        {"R@1": hits, "R@2": hits}, {"tail": tail}, key="{1}/{0}".format,
        totals={"sum": (("R@1", "R@2"), 100.0)}, items=of_item, resamples=150, seed=4,
    )  # fmt: skip
    weights = np.random.default_rng(4).multinomial(3, [1 / 3] * 3, size=150).tolist()
    for name, chosen in (("all", Both([0, 1, 2, 3], [0, 1, 2])), ("tail", Both([1, 2, 3], [1, 2]))):
        total, drawn = 0.0, np.zeros(150)
        for direction in ("t2v", "v2t"):
            rows = getattr(chosen, direction)
            item, own = (getattr(of, direction)[rows].tolist() for of in (of_item, hits))
            shares = [reference.resampled_share(w, item, own) for w in weights]
            assert found[name][f"{direction}/R@1"] == pytest.approx(np.mean(own))
            bounds = [found[name][f"{direction}/R@1/{end}"] for end in ("low", "high")]
            low_high = np.nanquantile(np.array(shares, dtype=float), [0.025, 0.975])
            assert bounds == pytest.approx(low_high.tolist())
            total += 200 * np.mean(own)
            drawn += 200 * np.array(shares, dtype=float)
        assert found[name]["sum"] == pytest.approx(total)
        bounds = [found[name][f"sum/{end}"] for end in ("low", "high")]
        assert bounds == pytest.approx(np.nanquantile(drawn, [0.025, 0.975]).tolist())
