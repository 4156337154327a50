import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from mmts.errors import InputError
from mmts.metrics import mir
from mmts.metrics.bootstrap import item_weights, resampled_shares
from mmts.metrics.mir import mean_average_precision, means, ndcg, per_query, relevancy
from tests.metrics import mir_reference as reference

LEVELS = np.array([0, 0, 0, 0, 1 / 6, 1 / 4, 1 / 2, 2 / 3, 1])


def graded(videos: int, texts: int, seed: int) -> np.ndarray:
    """Relevancy of few levels, as classes give it; every query has an item of relevancy 1."""
    rng = np.random.default_rng(seed)
    found = rng.choice(LEVELS, (videos, texts))
    found[np.arange(videos), rng.integers(0, texts, videos)] = 1
    found[rng.integers(0, videos, texts), np.arange(texts)] = 1
    return found


def scores(videos: int, texts: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((videos, texts))


def by_loops(metric, similarity: np.ndarray, gains: np.ndarray) -> tuple[list, list]:
    """The slow metric of each query, of v2t and of t2v."""
    ways = []
    for s, r in ((similarity, gains), (similarity.T, gains.T)):
        ways.append([metric(a, b) for a, b in zip(s.tolist(), r.tolist(), strict=True)])
    return ways[0], ways[1]


# relevancy


def test_relevancy_by_hand() -> None:
    videos = [(0, [1, 2]), (3, [5])]
    texts = [(0, [2, 1, 1]), (0, [2]), (3, (2, 5)), (4, {7})]
    # row 0: same; verb same and 1 of 2 nouns; other verb and 1 of 3 nouns; nothing
    # row 1: nothing; nothing; verb same and 1 of 2 nouns; nothing
    wanted = [[1, 0.75, 1 / 6, 0], [0, 0, 0.75, 0]]
    found = relevancy(videos, texts)
    assert found.dtype == np.float64
    assert found.tolist() == wanted


CLASSES = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 5), min_size=1, max_size=4)),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(CLASSES, CLASSES)
def test_relevancy_is_the_double_loop(videos: list, texts: list) -> None:
    assert relevancy(videos, texts).tolist() == reference.relevancy(videos, texts)


def test_relevancy_takes_numpy_numbers_and_any_iterable() -> None:
    videos = [(np.int64(1), np.array([4, 3])), (1, (n for n in (3,)))]
    assert relevancy(videos, [(1, frozenset({3, 4}))]).tolist() == [[1], [0.75]]


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ([], "video_classes is empty"),
        ([(1, [2]), 7], r"video_classes\[1\] is 7; it must be \(verb class, noun classes\)"),
        ([(1, [2], 3)], r"video_classes\[0\] is \(1, \[2\], 3\)"),
        ([(1, "[2, 3]")], r"video_classes\[0\] has noun classes '\[2, 3\]'; it must be a list"),
        ([(1, 2)], r"video_classes\[0\] has noun classes 2; it must be a list"),
        ([(1, np.array(2))], r"video_classes\[0\] has noun classes array\(2\); it must be a list"),
        ([(1, [2]), (1, [])], r"video_classes\[1\] has no noun class"),
        ([(1.0, [2])], r"video_classes\[0\] has class 1.0; a class must be a whole number"),
        ([(1, [2, None])], r"video_classes\[0\] has class None"),
    ],
)
def test_wrong_classes(videos: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        relevancy(videos, [(1, [2])])
    with pytest.raises(InputError, match=message.replace("video", "text")):
        relevancy([(1, [2])], videos)


# the metrics by hand


def one_query(gains: list[float], similar: list[float]) -> tuple[float, float]:
    """Average precision and nDCG of the only v2t query; a perfect t2v query stands beside it."""
    found = per_query(
        np.array([similar, [0.0] * len(similar)]), np.array([gains, [1.0] * len(gains)])
    )
    return found.average_precision.v2t[0], found.ndcg.v2t[0]


def test_map_sums_graded_relevancy_at_the_ones() -> None:
    precision, _ = one_query([0.5, 1, 0, 1, 0.25], [5, 4, 3, 2, 1])
    assert precision == pytest.approx(((0.5 + 1) / 2 + (0.5 + 1 + 0 + 1) / 4) / 2)


def test_ndcg_is_cut_at_the_number_of_relevant_items() -> None:
    # three items above 0, so ranks 1 to 3 count: 0, 1 and 0; that of 0.5 at rank 4 does not
    _, found = one_query([0, 1, 0, 0.5, 0.5], [5, 4, 3, 2, 1])
    ideal = 1 + 0.5 / math.log2(3) + 0.5 / math.log2(4)
    assert found == pytest.approx(1 / math.log2(3) / ideal)


def test_nothing_within_the_cut_is_zero() -> None:
    assert one_query([0, 0, 1], [3, 2, 1]) == (pytest.approx(1 / 3), 0)


def test_almost_one_is_not_one() -> None:
    almost = float(np.nextafter(1, 0))
    precision, _ = one_query([almost, 0, 1], [3, 2, 1])
    assert precision == pytest.approx((almost + 1) / 3)


def test_both_directions_and_their_average() -> None:
    similarity = np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.3]])
    gains = np.array([[0.5, 0, 1], [1, 1, 0]])
    # v2t: (0.5 + 1) / 2; ones at ranks 1 and 3: (1 / 1 + 2 / 3) / 2
    # t2v: 0.5 first, then the one: 1.5 / 2; 1; 1
    assert per_query(similarity, gains).average_precision.v2t.tolist() == [
        0.75,
        pytest.approx(5 / 6),
    ]
    found = mean_average_precision(similarity, gains)
    v2t, t2v = (0.75 + 5 / 6) / 2, 2.75 / 3
    assert list(found) == ["v2t", "t2v", "avg"]
    assert found == pytest.approx({"v2t": v2t, "t2v": t2v, "avg": (v2t + t2v) / 2})


def test_a_perfect_order_is_one() -> None:
    gains = graded(30, 40, 0)
    assert ndcg(gains, gains) == {"v2t": 1, "t2v": 1, "avg": 1}
    binary = (gains == 1).astype(float)
    assert mean_average_precision(gains, binary) == {"v2t": 1, "t2v": 1, "avg": 1}


# ties


def test_equal_scores_rank_the_least_relevant_first() -> None:
    precision, found = one_query([1, 0, 0.5, 0], [1, 1, 1, 1])
    assert precision == pytest.approx(1.5 / 4)
    assert found == 0  # two items of relevancy 0 fill the cut
    precision, found = one_query([1, 0.5, 0, 0], [1, 1, 0, 0])
    assert precision == pytest.approx(1.5 / 2)
    assert found == pytest.approx((0.5 + 1 / math.log2(3)) / (1 + 0.5 / math.log2(3)))


def test_zero_and_minus_zero_are_equal_scores() -> None:
    assert one_query([1, 0], [0.0, -0.0]) == one_query([1, 0], [-0.0, 0.0]) == (0.5, 0)


def test_ties_give_the_lowest_ndcg_of_all_orders() -> None:
    gains = [0.25, 0, 1, 0.5, 0, 1]
    _, tied = one_query(gains, [2, 2, 2, 1, 1, 1])
    orders = []
    for first, last in itertools.product(itertools.permutations(range(3)), repeat=2):
        orders.append(one_query(gains, [10.0 + x for x in first] + [float(x) for x in last])[1])
    assert tied == pytest.approx(min(orders))
    assert tied < max(orders)


# against the loops, the usual form and scikit-learn


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(0, 10**6))
def test_every_query_is_the_loop(videos: int, texts: int, levels: int, seed: int) -> None:
    # few distinct scores, so that ties are common
    similarity = np.random.default_rng(seed).integers(-levels, levels + 1, (videos, texts)) / 4
    gains = graded(videos, texts, seed)
    found = per_query(similarity, gains)
    for metric, values in (
        (reference.average_precision, found.average_precision), (reference.ndcg, found.ndcg),
    ):  # fmt: skip
        wanted = by_loops(metric, similarity, gains)
        assert values.v2t.tolist() == pytest.approx(wanted[0], abs=1e-12)
        assert values.t2v.tolist() == pytest.approx(wanted[1], abs=1e-12)
    assert mean_average_precision(similarity, gains) == means(found.average_precision)
    assert ndcg(similarity, gains) == means(found.ndcg)


@pytest.mark.parametrize("signal", [0, 0.3, 3])
def test_agrees_with_the_usual_form_without_ties(signal: float) -> None:
    gains = graded(150, 70, 1)  # several blocks, the last ones short
    similarity = signal * gains + scores(150, 70, 2)
    close = {"rel": 1e-12, "abs": 0}
    wanted = reference.usual_map(similarity, gains)
    assert mean_average_precision(similarity, gains) == pytest.approx(wanted, **close)
    assert ndcg(similarity, gains) == pytest.approx(
        reference.usual_ndcg(similarity, gains), **close
    )


def test_agrees_with_scikit_learn() -> None:
    # ndcg_score cuts all queries at one k: here every row has 5 items above 0; binary for mAP
    rng = np.random.default_rng(3)
    gains = np.stack([rng.permutation([1, 1, 0.75, 0.5, 0.25] + [0] * 15) for _ in range(20)])
    similarity = scores(20, 20, 4)
    found = mir._values(similarity, gains, [mir._ndcg])[0]
    assert found.v2t.mean() == pytest.approx(ndcg_score(gains, similarity, k=5), rel=1e-12)
    binary = (gains == 1).astype(float)
    binary[np.arange(20), np.arange(20)] = 1
    wanted = [average_precision_score(binary[i], similarity[i]) for i in range(20)]
    assert per_query(similarity, binary).average_precision.v2t.tolist() == pytest.approx(wanted)


# what must not matter


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 10**6))
def test_the_order_of_rows_and_columns_does_not_matter(videos: int, texts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarity, gains = rng.integers(0, 4, (videos, texts)) / 1.0, graded(videos, texts, seed)
    rows, columns = rng.permutation(videos), rng.permutation(texts)
    moved = per_query(similarity[rows][:, columns], gains[rows][:, columns])
    for there, here in zip(moved, per_query(similarity, gains), strict=True):
        assert there.v2t.tolist() == here.v2t[rows].tolist()
        assert there.t2v.tolist() == here.t2v[columns].tolist()


def test_swapping_the_modalities_swaps_the_directions() -> None:
    similarity, gains = scores(12, 7, 0), graded(12, 7, 0)
    here, there = ndcg(similarity, gains), ndcg(similarity.T, gains.T)
    assert (here["v2t"], here["t2v"]) == (there["t2v"], there["v2t"])


def test_only_the_order_of_scores_matters() -> None:
    similarity, gains = scores(12, 7, 0), graded(12, 7, 0)
    assert ndcg(np.exp(similarity), gains) == ndcg(similarity, gains)


def test_blocks_do_not_change_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    similarity, gains = scores(20, 50, 0), graded(20, 50, 0)
    whole = per_query(similarity, gains)
    monkeypatch.setattr(mir, "BLOCK", 7)
    parts = per_query(similarity, gains)
    for one, other in zip(whole, parts, strict=True):
        assert one.v2t.tolist() == other.v2t.tolist() and one.t2v.tolist() == other.t2v.tolist()


@pytest.mark.parametrize("metric", [mean_average_precision, ndcg])
def test_torch_numpy_and_types_give_the_same(metric) -> None:
    gains = graded(9, 14, 0)
    similarity = np.round(scores(9, 14, 0) * 8) / 8  # exact in all types
    wanted = metric(similarity, gains)
    torch_scores, torch_gains = torch.from_numpy(similarity), torch.from_numpy(gains)
    assert metric(torch_scores.requires_grad_(), torch_gains) == wanted
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        assert metric(torch_scores.to(dtype), gains) == wanted
    assert metric(similarity.astype(np.float32), gains) == wanted
    assert metric(np.asfortranarray(similarity.astype(np.float16)), gains.tolist()) == wanted
    assert metric((similarity * 8).astype(np.int64), gains) == wanted
    assert metric(similarity, gains.astype(np.float32)) == pytest.approx(wanted, abs=1e-7)
    assert metric(similarity, gains == 1) == metric(similarity, (gains == 1).astype(float))


def test_float64_scores_are_not_rounded() -> None:
    assert one_query([1, 0], [1 + 1e-12, 1])[0] == 1
    assert one_query([1, 0], [1, 1 + 1e-12])[0] == 0.5


def test_the_input_is_left_as_it_is() -> None:
    similarity, gains = scores(5, 6, 0), graded(5, 6, 0)
    kept = similarity.copy(), gains.copy()
    per_query(similarity, gains)
    assert (similarity == kept[0]).all() and (gains == kept[1]).all()


def test_the_bootstrap_takes_the_values_of_queries() -> None:
    values = per_query(scores(40, 30, 0), graded(40, 30, 0)).ndcg.v2t
    weights = item_weights(40, 25, seed=0)
    found = resampled_shares(weights, np.arange(40), values[:, None])[:, 0]
    drawn = [np.repeat(values, w.astype(int)).mean() for w in weights]
    assert found.tolist() == pytest.approx(drawn)


# wrong input


def changed(array: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    array = array.copy()
    array[row, column] = value
    return array


S, R = scores(70, 5, 0), graded(70, 5, 0)


@pytest.mark.parametrize("metric", [mean_average_precision, ndcg, per_query])
@pytest.mark.parametrize(
    ("similarity", "gains", "message"),
    [
        (S, R.T, r"similarity is \(70, 5\) and relevancy \(5, 70\); both must be \[V, T\]"),
        (S[0], R[0], r"similarity is \(5,\)"),
        (S[:0], R[:0], r"similarity is \(0, 5\) .*at least one of each"),
        (changed(S, 66, 3, np.nan), R, r"similarity\[66, 3\] is nan; every score must be a finite"),
        (changed(S, 2, 0, np.inf), R, r"similarity\[2, 0\] is inf"),
        (changed(S, 2, 0, -np.inf), R, r"similarity\[2, 0\] is -inf"),
        (S, changed(R, 66, 4, 1.5), r"relevancy\[66, 4\] is 1\.5; it must be within 0\.\.1"),
        (S, changed(R, 1, 2, -0.25), r"relevancy\[1, 2\] is -0\.25"),
        (S, changed(R, 1, 2, np.nan), r"relevancy\[1, 2\] is nan"),
        (S.astype(str), R, "similarity is <U32; it must hold real numbers"),
        (S, R + 0j, "relevancy is complex128"),
    ],
)
def test_wrong_input(metric, similarity: object, gains: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        metric(similarity, gains)


def test_a_query_with_nothing_relevant_is_named() -> None:
    similarity = scores(3, 4, 0)
    no_row = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    with pytest.raises(InputError, match=r"v2t query row 2 of .* no item of relevancy above 0;"):
        ndcg(similarity, no_row)
    with pytest.raises(InputError, match=r"v2t query row 2 of .* no item of relevancy 1;"):
        mean_average_precision(similarity, no_row)
    no_column = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0.5, 0]])
    with pytest.raises(InputError, match=r"t2v query column 1 of .* no item of relevancy above 0;"):
        ndcg(similarity, no_column)


def test_without_a_one_there_is_ndcg_but_no_map() -> None:
    similarity, gains = scores(2, 2, 0), np.array([[1, 0.5], [1, 0.5]])
    assert 0 < ndcg(similarity, gains)["t2v"] <= 1
    for metric in (mean_average_precision, per_query):
        with pytest.raises(InputError, match=r"t2v query column 1 of .* no item of relevancy 1;"):
            metric(similarity, gains)
