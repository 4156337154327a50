"""Scores of each kind against the definition, and the ranks that follow from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmts.errors import InputError
from mmts.metrics import recall, scores
from mmts.metrics.mir import per_query
from mmts.metrics.recall import ranks_of, retrieval_ranks
from mmts.metrics.scores import (
    Both,
    MatrixScores,
    ProductScores,
    RerankedScores,
    Scores,
    candidates,
)
from tests.metrics import mir_reference

ALL = slice(0, None)


def rows(n: int, seed: int, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def reranked(first: Scores, k: int, seed: int = 5) -> RerankedScores:
    """Whole numbers from 0 to 3, so that ties are common."""
    chosen, rng = candidates(first, k), np.random.default_rng(seed)
    new = Both(*(rng.integers(0, 4, of.shape).astype(np.float32) for of in chosen))
    return RerankedScores(first, chosen, new)


def test_products_are_those_of_the_features() -> None:
    vision, text = rows(5, 0), rows(7, 1)
    found = ProductScores(vision, torch.from_numpy(text))
    assert (found.items, found.captions) == (5, 7)
    assert np.array_equal(found.t2v(slice(2, 4)), text[2:4] @ vision.T)
    assert np.array_equal(found.v2t(slice(3, 9)), vision[3:] @ text.T)
    held = found.held()
    assert np.array_equal(held.matrix, vision @ text.T) and held.held() is held
    assert np.array_equal(held.t2v(ALL), held.v2t(ALL).T)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros(3), r"similarity is \(3,\); it must be \[V, T\]"),
        (np.zeros((0, 3)), r"similarity is \(0, 3\)"),
        (np.array([["a"]]), "it must hold real numbers"),
        (np.array([[1, 2], [3, np.nan]]), r"similarity\[1, 1\] is nan"),
    ],
)
def test_what_is_no_matrix(matrix: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MatrixScores(matrix)


def test_ranks_of_a_matrix_are_those_of_the_product() -> None:
    vision, text, owner = rows(9, 0), rows(9, 1), np.arange(9)
    wanted = retrieval_ranks(vision, text, owner)
    found = ranks_of(MatrixScores(vision @ text.T), owner)
    assert [r.tolist() for r in found] == [r.tolist() for r in wanted]


# --- re-ranking --------------------------------------------------------------------------------

BY_HAND = MatrixScores(
    np.array(
        [
            [0.9, 0.1, 0.6, 0.2],
            [0.8, 0.7, 0.5, 0.3],
            [0.1, 0.6, 0.4, 0.9],
            [0.2, 0.8, 0.3, 0.1],
        ]
    )
)


def test_reranking_by_hand() -> None:
    """Four pairs, two candidates: caption 2's own item is not among them, so never first."""
    chosen = candidates(BY_HAND, 2)
    assert chosen.t2v.tolist() == [[0, 1], [3, 1], [0, 1], [2, 1]]
    assert chosen.v2t.tolist() == [[0, 2], [0, 1], [3, 1], [1, 2]]
    new = Both(
        np.array([[0.2, 0.9], [0.1, 0.5], [0.5, 0.4], [0.3, 0.3]]),
        np.array([[0.7, 0.7], [0.1, 0.3], [0.2, 0.6], [0.4, 0.5]]),
    )
    ranks = ranks_of(RerankedScores(BY_HAND, chosen, new), range(4))
    # t2v: item 0 behind 1; item 1 before 3; item 2 the best of the others; of caption 3 item 3 is
    # the last of all
    assert ranks.t2v.tolist() == [2, 1, 3, 4]
    # v2t: caption 0 ties with 2, which counts against; 1 before 0; caption 2 the best of the others
    # behind two; caption 3 the last
    assert ranks.v2t.tolist() == [2, 1, 3, 4]
    before = ranks_of(BY_HAND, range(4))
    assert (before.t2v.tolist(), before.v2t.tolist()) == ([1, 2, 3, 4], [1, 2, 3, 4])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 9), st.integers(0, 10**6))
def test_reranked_ranks_are_those_of_the_sorted_lists(
    items: int, captions: int, k: int, seed: int
) -> None:
    """By the definition: candidates by their new scores, then the others by their first ones."""
    rng = np.random.default_rng(seed)
    found = reranked(MatrixScores(rng.integers(-2, 3, (items, captions))), k, seed)
    for direction in ("t2v", "v2t"):
        first, again = (getattr(of, direction)(ALL) for of in (found.first, found))
        chosen, new = getattr(found.chosen, direction), getattr(found.new, direction)
        for query, answers in enumerate(again):
            best = dict(zip(chosen[query].tolist(), new[query].tolist(), strict=True))
            assert len(best) == min(k, len(answers))
            assert min(first[query][list(best)]) >= max(
                (s for n, s in enumerate(first[query]) if n not in best), default=-9
            )
            key = [(1, best[n]) if n in best else (0, s) for n, s in enumerate(first[query])]
            for a in range(len(answers)):
                for b in range(len(answers)):
                    assert (answers[a] > answers[b]) == (key[a] > key[b])
                    assert (answers[a] == answers[b]) == (key[a] == key[b])


def test_first_scores_as_new_ones_for_all_change_no_rank() -> None:
    first, owner = ProductScores(rows(12, 0), rows(12, 1)), np.arange(12)
    chosen = candidates(first, 50)
    new = Both(
        np.take_along_axis(first.t2v(ALL), chosen.t2v, 1),
        np.take_along_axis(first.v2t(ALL), chosen.v2t, 1),
    )
    found = ranks_of(RerankedScores(first, chosen, new), owner)
    assert [r.tolist() for r in found] == [r.tolist() for r in ranks_of(first, owner)]


@pytest.mark.parametrize("new", [-1e300, 1e30, 0.0])
def test_others_stay_behind_and_in_order_whatever_the_new_scores(new: float) -> None:
    first = MatrixScores(np.float32([[0.5, 0.50000006, 0.9, -3.0]]))
    chosen = Both(np.zeros((4, 1), np.int64), np.array([[2]]))
    found = RerankedScores(first, chosen, Both(np.full((4, 1), new), np.full((1, 1), new)))
    assert np.argsort(-found.v2t(ALL)[0]).tolist() == [2, 1, 0, 3]
    assert len(set(found.v2t(ALL)[0].tolist())) == 4


def test_of_equal_answers_the_first_are_candidates() -> None:
    found = candidates(MatrixScores(np.ones((4, 3))), 2)
    assert found.t2v.tolist() == [[0, 1]] * 3 and found.v2t.tolist() == [[0, 1]] * 4


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, owner = MatrixScores(rows(20, 0, 20)), np.arange(20)
    whole = ranks_of(reranked(first, 6), owner)
    for module in (scores, recall):
        monkeypatch.setattr(module, "BLOCK", 7)
    parts = ranks_of(reranked(first, 6), owner)
    assert [r.tolist() for r in whole] == [r.tolist() for r in parts]


def test_graded_metrics_of_both_directions() -> None:
    """Re-ranked scores differ by direction: each is what the plain loops make of its own."""
    rng = np.random.default_rng(3)
    gains = np.maximum(rng.choice([0.0, 0.25, 0.5], (9, 6)), np.eye(9, 6))
    gains[6:, 0] = 1
    found = reranked(ProductScores(rows(9, 0), rows(6, 1)).held(), 3)
    values = per_query(found, gains)
    for direction, relevant in (("v2t", gains), ("t2v", gains.T)):
        block = getattr(found, direction)(ALL)
        for name, slow in (
            ("average_precision", mir_reference.average_precision), ("ndcg", mir_reference.ndcg),
        ):  # fmt: skip
            wanted = [slow(s.tolist(), g.tolist()) for s, g in zip(block, relevant, strict=True)]
            assert getattr(getattr(values, name), direction).tolist() == pytest.approx(wanted)


def test_new_scores_must_fit_and_be_finite() -> None:
    chosen = candidates(BY_HAND, 2)
    few = Both(np.zeros((4, 1)), np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"gave \(4, 1\) scores for \(4, 2\) candidates of t2v"):
        RerankedScores(BY_HAND, chosen, few)
    odd = Both(np.zeros((4, 2)), np.array([[0, 0], [0, np.nan], [0, 0], [0, 0]]))
    with pytest.raises(InputError, match="gave v2t query 1 a score that is not finite"):
        RerankedScores(BY_HAND, chosen, odd)
