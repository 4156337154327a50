from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmts.augment import NAMES, OPERATIONS, random_augment, random_box
from mmts.errors import InputError
from tests.reference import resized_crop

SUMS = [[5560, 8648, 0], [7048, 7424, 0], [7728, 8464, 0]]


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 0 * x], axis=-1).astype(np.uint8))


def test_seeded() -> None:
    image = gradient(60, 40)
    first = random_augment(image, 16, seed=3)
    assert first.shape == (16, 16, 3) and first.dtype == np.uint8
    assert (first == random_augment(image, 16, seed=3)).all()
    assert any((first != random_augment(image, 16, seed=s)).any() for s in (4, 5))


def test_crops_stay_inside_and_hold_about_half_or_more() -> None:
    flipped = 0
    for seed in range(200):
        crop = random_augment(gradient(64, 64), 32, seed).astype(int)
        red, green = crop[..., 0].mean(axis=0), crop[..., 1].mean(axis=1)
        flipped += red[0] > red[-1]
        assert green[0] < green[-1]  # never upside down
        share = abs(red[-1] - red[0]) / 255 * (green[-1] - green[0]) / 255
        assert 0.38 < share <= 1
    assert 70 < flipped < 130


def test_long_pictures() -> None:
    for size in ((300, 20), (20, 300)):
        for seed in range(20):
            assert random_augment(gradient(*size), 16, seed).shape == (16, 16, 3)


@pytest.mark.parametrize(
    "size", [(454, 256), (256, 454), (40, 30), (500, 500), (1000, 20), (20, 999), (1, 1), (1, 2),
             (2, 1), (3, 40)],
)  # fmt: skip
@pytest.mark.parametrize("area", [(0.5, 1.0), (0.08, 1.0), (1.0, 1.0), (0.001, 0.001)])
def test_the_box_is_that_of_the_written_rule(
    size: tuple[int, int], area: tuple[float, float]
) -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        left, top, w, h = resized_crop(*size, area, rng.uniform, lambda n: int(rng.integers(n + 1)))  # noqa: B023
        found = np.random.default_rng(seed)
        assert random_box(*size, found, area) == (left, top, left + w, top + h)
        assert 0 <= left < left + w <= size[0] and 0 <= top < top + h <= size[1]
        assert found.random() == rng.random()  # what is drawn afterwards is the same


def test_crops_of_wide_frames_have_the_area_and_the_aspect_that_were_asked_for() -> None:
    """As torchvision's: a mean of 0.609; clipping what does not fit gave 0.643."""
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(454, 256, rng) for _ in range(40_000)])
    w, h = (boxes[:, 2] - boxes[:, 0]), (boxes[:, 3] - boxes[:, 1])
    share = w * h / (454 * 256)
    assert abs(share.mean() - 0.609) < 0.002
    assert share.min() > 0.5 - (454 + 256) / (2 * 454 * 256)  # each side is rounded
    assert ((w - 0.5) / (h + 0.5)).max() <= 4 / 3 and ((w + 0.5) / (h - 0.5)).min() >= 3 / 4
    places = boxes[w == 300, 0] / (454 - 300)  # uniform over all places
    assert places.min() == 0 and places.max() == 1 and abs(places.mean() - 0.5) < 0.1


def test_the_crops_that_are_drawn() -> None:
    """A change of these pixels changes everyone's training."""
    found = [random_augment(gradient(61, 47), 8, seed).astype(int) for seed in (0, 1, 2)]
    sums = [[int(crop[..., band].sum()) for band in (0, 1, 2)] for crop in found]
    assert sums == SUMS


def test_augment_is_the_crop_where_it_has_no_operations() -> None:
    image = gradient(60, 40)
    for seed in range(5):
        wanted = random_augment(image, 16, seed)
        assert (random_augment(image, 16, seed, ops=0, magnitude=9) == wanted).all()
        assert (random_augment(image, 16, seed, ops=2, magnitude=9) ==
                random_augment(image, 16, seed, ops=2, magnitude=9)).all()  # fmt: skip
    whole = [random_augment(image, 16, s, crop_area=(1, 1)) for s in range(4)]
    assert np.ptp(np.stack([crop[..., 1].mean() for crop in whole])) < 30
    changed = [random_augment(image, 16, s, ops=2, magnitude=20) for s in range(20)]
    same = [(crop == random_augment(image, 16, s)).all() for s, crop in enumerate(changed)]
    assert sum(same) < 5


@pytest.mark.parametrize("name", NAMES)
def test_operations(name: str) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray((20 + 200 * rng.random((40, 40, 3)) ** 3).astype(np.uint8))
    pixels = np.asarray(image).astype(int)
    for sign in (1.0, -1.0):
        least, most = (OPERATIONS[name](image, share, sign) for share in (0.0, 1.0))
        for found in (least, most):
            assert found.mode == "RGB" and found.size == (40, 40)
        if name not in ("auto_contrast", "equalize"):
            assert np.abs(np.asarray(least).astype(int) - pixels).max() <= 1
        assert (np.asarray(most) == pixels).all() == (name == "identity")


def test_operations_by_hand() -> None:
    image = gradient(20, 20)
    pixels = np.asarray(image).astype(int)
    moved = np.asarray(OPERATIONS["translate_x"](image, 1.0, 1.0)).astype(int)
    assert (moved[:, :11] == pixels[:, 9:]).all() and (moved[:, 11:] == 128).all()
    assert (np.asarray(OPERATIONS["solarize"](image, 1.0, 1.0)) == 255 - pixels).all()
    assert (np.asarray(OPERATIONS["posterize"](image, 1.0, 1.0)) == pixels // 16 * 16).all()
    bright = np.asarray(OPERATIONS["brightness"](image, 0.5, -1.0)).astype(int)
    assert np.abs(bright - 0.55 * pixels).max() <= 1
    sheared = np.asarray(OPERATIONS["shear_x"](image, 1.0, 1.0)).astype(int)
    assert np.abs(sheared[10, 3:17] - pixels[10, 3:17]).max() <= 8  # the middle row stays
    assert np.abs(sheared[0, 8:17, 0] - pixels[0, 5:14, 0]).max() <= 8  # the top moves by three


def test_there_are_the_fourteen_of_the_paper() -> None:
    assert len(OPERATIONS) == 14


@pytest.mark.parametrize(
    "more",
    [{"ops": -1}, {"magnitude": 31}, {"magnitude": -1}, {"crop_area": (0, 1)},
     {"crop_area": (0.6, 0.5)}, {"crop_area": (0.5, 1.1)}],
)  # fmt: skip
def test_numbers_out_of_bounds(more: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        random_augment(gradient(8, 8), 4, 0, **more)
