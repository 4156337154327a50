"""Which frames make a clip, and the one crop of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mmts.augment import random_box
from mmts.errors import InputError
from mmts.media import square
from mmts.video import centre_crop, consistent_crop, frame_indices

sizes = st.integers(1, 400)


def pictures(count: int, size: tuple[int, int] = (40, 30)) -> NDArray[np.uint8]:
    """Smooth ones: Pillow rounds between its two passes, which shows at hard edges only."""
    noise = np.random.default_rng(0).integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size)) for frame in noise])


def by_pillow(frame: NDArray[np.uint8], box: tuple[int, ...], size: int) -> NDArray[np.uint8]:
    cropped = Image.fromarray(frame).crop(box)
    return np.asarray(cropped.resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("frames", "clip_length", "wanted"),
    [
        (16, 4, [2, 6, 10, 14]),
        (10, 4, [1, 3, 6, 8]),  # 1.25, 3.75, 6.25, 8.75
        (4, 4, [0, 1, 2, 3]),
        (3, 4, [0, 1, 1, 2]),  # 0.375, 1.125, 1.875, 2.625
        (1, 3, [0, 0, 0]),
        (9, 1, [4]),
    ],
)
def test_centred_by_hand(frames: int, clip_length: int, wanted: list[int]) -> None:
    assert frame_indices(frames, clip_length).tolist() == wanted


@given(frames=sizes, clip_length=sizes, seed=st.integers(0, 2**32))
def test_sorted_and_in_range(frames: int, clip_length: int, seed: int) -> None:
    centred = frame_indices(frames, clip_length)
    jittered = frame_indices(frames, clip_length, jitter=np.random.default_rng(seed))
    for found in (centred, jittered):
        assert found.dtype == np.int64 and found.shape == (clip_length,)
        assert found[0] >= 0 and found[-1] < frames and (np.diff(found) >= 0).all()
        part = np.arange(clip_length)  # each is in its own part
        assert (found >= part * frames // clip_length).all()
        assert (found * clip_length < (part + 1) * frames).all()
    assert (centred == frame_indices(frames, clip_length)).all()
    again = frame_indices(frames, clip_length, jitter=np.random.default_rng(seed))
    assert (jittered == again).all()


def test_jitter_reaches_all_of_a_part_alike() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([frame_indices(40, 4, jitter=rng) for _ in range(4000)])
    for part in range(4):
        counts = np.bincount(drawn[:, part], minlength=40)
        assert counts[::1][10 * part : 10 * part + 10].min() > 320 and counts.sum() == 4000
    assert len(np.unique(drawn[:, 0] + 100 * drawn[:, 1])) == 100  # parts are drawn independently


@pytest.mark.parametrize(("frames", "clip_length"), [(0, 4), (-1, 4), (5, 0)])
def test_nothing_to_sample(frames: int, clip_length: int) -> None:
    with pytest.raises(InputError, match="it must be at least 1"):
        frame_indices(frames, clip_length)


@pytest.mark.parametrize("flip", [False, True])
def test_one_box_for_all_frames(flip: bool) -> None:
    one, other = pictures(2)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = consistent_crop(np.stack([one, other, one]), 16, rng, flip=flip)
        assert found.shape == (3, 16, 16, 3) and found.dtype == np.uint8
        assert (found[0] == found[2]).all()
        alone = consistent_crop(other[None], 16, np.random.default_rng(seed), flip=flip)
        assert (found[1] == alone[0]).all()


def test_the_box_is_that_of_pictures_and_the_pixels_are_those_of_pillow() -> None:
    frames = pictures(2)
    for seed in range(20):
        found = consistent_crop(frames, 16, np.random.default_rng(seed))
        box = random_box(40, 30, np.random.default_rng(seed))
        for frame, crop in zip(frames, found, strict=True):
            assert np.abs(crop.astype(int) - by_pillow(frame, box, 16)).max() <= 2


def test_crops_differ_from_clip_to_clip_and_mirror_half_of_them() -> None:
    ramp = np.zeros((1, 300, 400, 3), dtype=np.uint8)
    ramp[:] = np.linspace(0, 255, 400, dtype=np.uint8)[None, None, :, None]
    rng = np.random.default_rng(0)
    plain = [consistent_crop(ramp, 8, rng)[0] for _ in range(50)]
    assert len({crop.tobytes() for crop in plain}) > 45
    assert all(int(crop[0, -1, 0]) > int(crop[0, 0, 0]) for crop in plain)
    mirrored = [consistent_crop(ramp, 8, rng, flip=True)[0] for _ in range(200)]
    share = np.mean([int(crop[0, -1, 0]) < int(crop[0, 0, 0]) for crop in mirrored])
    assert 0.4 < share < 0.6


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (1, 1), (3, 1)])
def test_crops_of_small_and_tall_frames(size: tuple[int, int]) -> None:
    frames = pictures(2, size)
    for seed in range(10):
        found = consistent_crop(frames, 5, np.random.default_rng(seed))
        assert found.shape == (2, 5, 5, 3)
    assert centre_crop(frames, 5).shape == (2, 5, 5, 3)


@pytest.mark.parametrize("size", [(40, 30), (30, 40)])
def test_the_centre_is_that_of_pictures(size: tuple[int, int]) -> None:
    frames = pictures(3, size)
    found = centre_crop(frames, 12)
    assert found.shape == (3, 12, 12, 3)
    for frame, crop in zip(frames, found, strict=True):
        left, top = (size[0] - 30) // 2, (size[1] - 30) // 2
        wanted = by_pillow(frame, (left, top, left + 30, top + 30), 12)
        assert np.abs(crop.astype(int) - wanted).max() <= 2
        as_picture = square(Image.fromarray(frame), 12)  # that one looks beyond the box
        assert np.abs(crop.astype(int) - as_picture).mean() < 2


def test_a_crop_takes_its_share_of_the_area() -> None:
    ramp = np.linspace(0, 200, 40, dtype=np.uint8)  # grows to the right
    frames = np.broadcast_to(ramp[:, None], (2, 30, 40, 3)).copy()
    for seed in range(9):
        half, small = (
            np.ptp(consistent_crop(frames, 16, np.random.default_rng(seed), area).astype(int))
            for area in ((0.5, 1.0), (0.02, 0.05))
        )
        assert half > 90 and small < 60
