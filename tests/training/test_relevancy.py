import pytest
import torch

from mmts.training.batch import NO_CLASSES
from mmts.training.relevancy import relevant_pairs


def slow(classes: list[list[int]], threshold: float) -> list[list[bool]]:
    """Double loop: share of columns with one known class, strictly above the threshold."""
    found = []
    for i, one in enumerate(classes):
        found.append([])
        for j, other in enumerate(classes):
            same = [a == b and a >= 0 for a, b in zip(one, other, strict=True)]
            found[i].append(i == j or sum(same) / len(same) > threshold)
    return found


def test_by_hand() -> None:
    # verb and noun: rows 0 and 1 share the verb, 0 and 2 both, 3 nothing
    classes = torch.tensor([[1, 5], [1, 6], [1, 5], [2, 7]])
    wanted = [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]]
    assert relevant_pairs(classes, 0.1).int().tolist() == wanted  # type: ignore[union-attr]
    wanted = [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert relevant_pairs(classes, 0.5).int().tolist() == wanted  # type: ignore[union-attr]


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 1 / 3, 0.5, 2 / 3, 0.9])
def test_is_the_double_loop(columns: int, threshold: float) -> None:
    torch.manual_seed(columns)
    classes = torch.randint(-1, 3, (20, columns))
    found = relevant_pairs(classes, threshold)
    assert found is not None and found.dtype == torch.bool
    assert found.tolist() == slow(classes.tolist(), threshold)
    assert torch.equal(found, found.T) and found.sum() > 20


def test_the_unknown_is_like_nothing() -> None:
    found = relevant_pairs(torch.tensor([[-1], [-1], [0]]), 0.0)
    assert found is not None and torch.equal(found, torch.eye(3, dtype=torch.bool))


def test_no_columns_no_pairs() -> None:
    assert relevant_pairs(torch.empty(5, 0, dtype=torch.int64), 0.1) is None
    assert relevant_pairs(NO_CLASSES, 0.1) is None
