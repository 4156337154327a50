import pytest
import torch

from mmts.errors import InputError
from mmts.losses._index import both_indices, check_index


def test_good_ids_come_back_as_they_are() -> None:
    for ids in (torch.tensor([3, 0, 4]), torch.tensor([3, 0, 4], dtype=torch.int32)):
        assert check_index(ids, 3, 5) is ids


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.arange(2), r"index is torch.int64 of shape \(2,\); it must be int64 \[3\]"),
        (torch.zeros(3, 1).long(), r"of shape \(3, 1\)"),
        (torch.arange(3.0), r"index is torch.float32 of shape \(3,\)"),
        (torch.tensor([True, False, True]), "index is torch.bool"),  # would be taken for a mask
        (torch.tensor([0, 5, 7]), r"index\[1\] is 5; it must be in 0..4: set `samples`"),
        (torch.tensor([0, 1, -1]), r"index\[2\] is -1; it must be in 0..4"),
        (torch.tensor([4, 1, 4]), r"index\[2\] is 4, as in an earlier row; draw a sample at most"),
        (torch.tensor([4, 4, 1]), r"index\[1\] is 4, as in an earlier row"),
    ],
)
def test_wrong_ids(ids: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_index(ids, 3, 5)


def test_ids_of_items_and_of_captions() -> None:
    items, captions = torch.tensor([3, 0, 4]), torch.tensor([9, 1, 12])
    assert both_indices((items, captions), 3, 5, 13) == (items, captions)
    assert both_indices(items, 3, 5, 5) == (items, items)
    for index, message in (
        (None, "index is None; there is a state for each sample: pass the sample ids"),
        (items, "index is one tensor, but there is a state for 5 media items and 13 captions"),
        ((items,), "index is a tuple of 1; it must be a pair"),
        ((captions, captions), r"index of the items\[0\] is 9; it must be in 0..4"),
        ((items, captions + 1), r"index of the captions\[2\] is 13; it must be in 0..12: set `cap"),
        ((items, items * 0), r"index of the captions\[1\] is 0, as in an earlier row"),
    ):
        with pytest.raises(InputError, match=message):
            both_indices(index, 3, 5, 13)  # type: ignore[arg-type]
