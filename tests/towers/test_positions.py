import pytest
import torch

from mmts.errors import InputError
from mmts.towers.positions import resize_position, resize_temporal


def test_the_same_size_changes_nothing() -> None:
    position, temporal = torch.randn(10, 4), torch.randn(5, 4)
    assert resize_position(position, 3) is position
    assert resize_temporal(temporal, 5) is temporal


@pytest.mark.parametrize("grid", [2, 4, 9])
def test_constants_stay_and_the_class_row_too(grid: int) -> None:
    position = torch.cat([torch.full((1, 3), 7.0), torch.tensor([1.0, 2.0, 3.0]).expand(36, 3)])
    found = resize_position(position, grid)
    assert found.shape == (1 + grid * grid, 3)
    assert torch.equal(found[0], position[0])
    torch.testing.assert_close(found[1:], position[1:2].expand(grid * grid, 3))


def test_rows_stay_rows_and_columns_columns() -> None:
    at = torch.arange(8.0)
    plane = torch.stack([at.repeat_interleave(8), at.repeat(8)], dim=1)  # [64, (row, column)]
    found = resize_position(torch.cat([torch.zeros(1, 2), plane]), 16)[1:].reshape(16, 16, 2)
    wanted = (torch.arange(16.0) + 0.5) / 2 - 0.5
    inside = slice(4, 12)  # bicubic is exact on a slope away from the border
    torch.testing.assert_close(found[inside, 3, 0], wanted[inside], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[3, inside, 1], wanted[inside], atol=1e-4, rtol=1e-4)
    assert (found[:, :, 0].std(dim=1) < 1e-4).all() and (found[:, :, 1].std(dim=0) < 1e-4).all()


def test_frames_by_hand() -> None:
    temporal = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    up = [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]
    torch.testing.assert_close(resize_temporal(temporal, 8)[:, 0], torch.tensor(up))
    torch.testing.assert_close(resize_temporal(temporal, 2)[:, 0], torch.tensor([0.5, 2.5]))
    assert resize_temporal(torch.tensor([[4.0, 5.0]]), 3).tolist() == [[4.0, 5.0]] * 3


def test_types_are_kept() -> None:
    assert resize_position(torch.randn(5, 3).half(), 3).dtype == torch.float16
    assert resize_temporal(torch.randn(5, 3).bfloat16(), 3).dtype == torch.bfloat16


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_no_square(rows: int) -> None:
    with pytest.raises(InputError, match=f"position has {rows} rows"):
        resize_position(torch.zeros(rows, 2), 4)
