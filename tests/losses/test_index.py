import pytest
import torch

from mmts.errors import InputError
from mmts.losses._index import check_index


def test_good_ids_come_back_as_they_are() -> None:
    for ids in (torch.tensor([3, 0, 4]), torch.tensor([3, 0, 4], dtype=torch.int32)):
        assert check_index(ids, 3, 5) is ids


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (None, "index is None; there is a state for each sample: pass the sample ids"),
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
def test_wrong_ids(ids: torch.Tensor | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_index(ids, 3, 5)
