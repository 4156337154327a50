"""Fit a checkpoint's position embeddings to another image size or number of frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mmts.errors import InputError


def resize_position(position: Tensor, grid: int) -> Tensor:
    """[1 + g * g, width] -> [1 + grid * grid, width]: bicubic, antialiased, for square grids.

    The first row belongs to the class token and stays as it is.

    Raises:
        InputError: the rows after the first are no square.
    """
    old = math.isqrt(len(position) - 1)
    if old < 1 or old * old != len(position) - 1:
        raise InputError(
            f"position has {len(position)} rows; one and a square number of patches are needed"
        )
    if old == grid:
        return position
    plane = position[1:].float().T.reshape(1, -1, old, old)
    plane = F.interpolate(plane, (grid, grid), mode="bicubic", antialias=True)
    return torch.cat([position[:1], plane.flatten(2)[0].T.to(position.dtype)])


def resize_temporal(temporal: Tensor, frames: int) -> Tensor:
    """[T, width] -> [frames, width]: linear, each frame at the middle of its share of the clip.

    AVION does the same for more frames than the checkpoint has; for fewer it keeps the first ones.
    """
    if len(temporal) == frames:
        return temporal
    row = temporal.float().T.unsqueeze(0)
    row = F.interpolate(row, frames, mode="linear", align_corners=False)
    return row[0].T.to(temporal.dtype).contiguous()
