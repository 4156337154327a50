import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from mmts.errors import InputError
from mmts.metrics import recall
from mmts.metrics.recall import retrieval_ranks, retrieval_recall, rsum
from mmts.metrics.scores import top_k
from tests import reference

KEYS = ["t2v/R@1", "t2v/R@5", "t2v/R@10", "v2t/R@1", "v2t/R@5", "v2t/R@10"]


def rows(n: int, seed: int, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def owners(items: int, captions: int, seed: int) -> np.ndarray:
    """Every item has a caption; the others fall anywhere."""
    rng = np.random.default_rng(seed)
    found = np.concatenate([np.arange(items), rng.integers(0, items, captions - items)])
    return rng.permutation(found)


def test_by_hand() -> None:
    vision = np.eye(3)
    text = np.array([[1, 0, 0], [0.6, 0.5, 0], [0.1, 0.2, 0.3], [0, 0.9, 0.8]])
    owner = [0, 1, 2, 2]
    # t2v ranks: 1, 2, 1, 2. v2t: item 0 -> caption 0 (1st); item 1: own .5, others .9 -> 2nd;
    # item 2: own .3 and .8, others 0 -> 1st
    ranks = retrieval_ranks(vision, text, owner)
    assert ranks.t2v.tolist() == [1, 2, 1, 2] and ranks.v2t.tolist() == [1, 2, 1]
    found = retrieval_recall(vision, text, owner, ks=(1, 2))
    assert found == {"t2v/R@1": 0.5, "t2v/R@2": 1, "v2t/R@1": pytest.approx(2 / 3), "v2t/R@2": 1}


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10), st.integers(0, 10**6))
def test_is_the_double_loop_with_several_captions(items: int, more: int, seed: int) -> None:
    # whole numbers, so that ties are common and sums exact
    rng = np.random.default_rng(seed)
    vision = rng.integers(-2, 3, (items, 3)).astype(np.float64)
    text = rng.integers(-2, 3, (items + more, 3)).astype(np.float64)
    owner = owners(items, items + more, seed)
    wanted = reference.recall(vision.tolist(), text.tolist(), owner.tolist(), (1, 5, 10))
    found = retrieval_recall(vision, text, owner)
    assert list(found) == KEYS
    assert found == pytest.approx(wanted)


def test_blocks_do_not_change_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    vision, text, owner = rows(20, 0), rows(50, 1), owners(20, 50, 0)
    whole = retrieval_ranks(vision, text, owner)
    monkeypatch.setattr(recall, "BLOCK", 7)
    parts = retrieval_ranks(vision, text, owner)
    assert whole.t2v.tolist() == parts.t2v.tolist() and whole.v2t.tolist() == parts.v2t.tolist()


def test_ties_count_against() -> None:
    found = retrieval_recall(np.ones((4, 2)), np.ones((4, 2)), range(4), ks=(1, 3, 4))
    assert found["t2v/R@1"] == found["v2t/R@1"] == found["t2v/R@3"] == 0
    assert found["t2v/R@4"] == found["v2t/R@4"] == 1


def test_an_items_own_captions_are_no_rivals() -> None:
    ranks = retrieval_ranks(np.eye(2), np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]]), [0, 0, 0, 1])
    assert ranks.v2t.tolist() == [1, 1]


@pytest.mark.parametrize("k", [1, 3, 10])
def test_agrees_with_scikit_learn_without_ties(k: int) -> None:
    vision, text = rows(30, 0), rows(30, 1)
    found = retrieval_recall(vision, text, np.arange(30), ks=(k,))
    labels = np.arange(30)
    assert found[f"v2t/R@{k}"] == top_k_accuracy_score(labels, vision @ text.T, k=k, labels=labels)
    assert found[f"t2v/R@{k}"] == top_k_accuracy_score(labels, text @ vision.T, k=k, labels=labels)


def test_torch_and_numpy_give_the_same() -> None:
    vision, text, owner = rows(9, 0), rows(14, 1), owners(9, 14, 0)
    wanted = retrieval_recall(vision, text, owner)
    grad = torch.from_numpy(vision).requires_grad_()
    assert retrieval_recall(grad, torch.from_numpy(text), torch.from_numpy(owner)) == wanted
    assert retrieval_recall(vision, text, owner.tolist()) == wanted
    half = torch.from_numpy(np.round(vision * 4) / 4).bfloat16()
    exact = retrieval_recall(half.double(), torch.from_numpy(text).float(), owner)
    assert retrieval_recall(half, torch.from_numpy(text).float(), owner) == exact


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_no_score(bad: float) -> None:
    vision, text = rows(5, 0), rows(5, 1)
    text[3, 1] = bad
    with pytest.raises(InputError, match="text row 3 holds NaN or infinity"):
        retrieval_recall(vision, text, range(5))
    with pytest.raises(InputError, match="vision row 3 holds NaN or infinity"):
        retrieval_recall(text, vision, range(5))


@pytest.mark.parametrize(
    ("vision", "text", "owner", "message"),
    [
        (rows(3, 0), rows(3, 1, d=5), range(3), r"vision is \(3, 4\) and text \(3, 5\)"),
        (rows(3, 0), rows(3, 1)[0], range(3), r"must be \[V, D\] and \[T, D\]"),
        (rows(3, 0), rows(3, 1), range(4), r"text_owner has shape \(4,\); it must be \[3\]"),
        (rows(3, 0), rows(3, 1), [0, 1, 3], r"text_owner\[2\] is 3; .*0\.\.2"),
        (rows(3, 0), rows(3, 1), [-1, 1, 2], r"text_owner\[0\] is -1"),
        (rows(3, 0), rows(3, 1), [0.0, 1.0, 2.0], "text_owner is float64; .*whole numbers"),
        (rows(3, 0), rows(3, 1), [0, 2, 2], "vision row 1 has no caption"),
        (rows(0, 0), rows(0, 1), [], "vision has 0 rows"),
    ],
)
def test_wrong_input(vision: object, text: object, owner: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        retrieval_recall(vision, text, owner)  # type: ignore[arg-type]


def test_top_k_is_sorted_and_cut() -> None:
    scores = np.array([0.1, 0.3, 0.2])
    assert top_k(scores, np.array([False, False, True]), 2).tolist() == [1, 2]
    assert top_k(scores, np.array([True, False, False]), 5).tolist() == [1, 2, 0]


def test_top_k_puts_the_right_one_of_equals_last_as_the_ranks_do() -> None:
    scores = np.array([0.5, 0.5, 0.2])
    assert top_k(scores, np.array([True, False, False]), 3).tolist() == [1, 0, 2]


def test_rsum_is_of_the_six_whatever_else_there_is() -> None:
    args = rows(20, 0), rows(50, 1), owners(20, 50, 0)
    wanted = 100 * sum(retrieval_recall(*args).values())
    assert rsum(retrieval_recall(*args)) == wanted
    assert rsum(retrieval_recall(*args, ks=(50, 10, 5, 2, 1))) == wanted
    with pytest.raises(InputError, match=r"but t2v/R@5 is not among the recalls; compute it too"):
        rsum(retrieval_recall(*args, ks=(1, 10, 50)))
