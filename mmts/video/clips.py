"""Which frames make a clip, and one crop for all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmts.augment import AREA, random_box
from mmts.errors import InputError


def frame_indices(
    frames: int, clip_length: int, *, jitter: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Frame numbers of a clip: one from each of equal parts of the segment (TSN, arXiv 1608.00859).

    Part i of `clip_length` parts holds the positions from i to i + 1 times frames / clip_length.
    Where the parts are shorter than a frame, frames repeat.

    Args:
        frames: in the segment.
        clip_length: in the clip.
        jitter: draws a position in each part; None takes the middle of each.

    Returns:
        [clip_length], never falling, from 0 to frames - 1.
    """
    for name, value in (("frames", frames), ("clip_length", clip_length)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    part = np.arange(clip_length, dtype=np.int64)
    if jitter is None:
        return (2 * part + 1) * frames // (2 * clip_length)
    drawn = (part + jitter.random(clip_length)) * (frames / clip_length)
    return np.minimum(drawn.astype(np.int64), frames - 1)


def consistent_crop(
    frames: NDArray[np.uint8], size: int, rng: np.random.Generator,
    crop_area: tuple[float, float] = AREA, *, flip: bool = False,
) -> NDArray[np.uint8]:  # fmt: skip
    """[T, size, size, 3]: one random box from all frames of a clip.

    Args:
        frames: [T, H, W, 3] uint8.
        size: of the result, in pixels.
        rng: draws the box, and whether to mirror.
        crop_area: bounds of the box's share of the area.
        flip: mirror the clip, all frames or none, half of the time.
    """
    height, width = frames.shape[1:3]
    left, top, right, bottom = random_box(width, height, rng, crop_area)
    cropped = resized(frames[:, top:bottom, left:right], size)
    return cropped[:, :, ::-1] if flip and rng.random() < 0.5 else cropped


def centre_crop(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """[T, size, size, 3]: the centre square of each frame of a clip, for evaluation."""
    height, width = frames.shape[1:3]
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return resized(frames[:, top : top + side, left : left + side], size)


def resized(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return frames [T, H, W, 3] as squares, [T, size, size, 3], whatever their aspect.

    Bicubic with antialiasing, as Pillow has it, in an eighth of its time.
    """
    import torch
    from torch.nn import functional as F

    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, size=(size, size), mode="bicubic", antialias=True)
    found: NDArray[np.uint8] = resized.permute(0, 2, 3, 1).numpy()
    return found
