import numpy as np
from PIL import Image

from mmts.augment import random_crop


def gradient(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 0 * x], axis=-1).astype(np.uint8))


def test_seeded() -> None:
    image = gradient(60, 40)
    first = random_crop(image, 16, seed=3)
    assert first.shape == (16, 16, 3) and first.dtype == np.uint8
    assert (first == random_crop(image, 16, seed=3)).all()
    assert any((first != random_crop(image, 16, seed=s)).any() for s in (4, 5))


def test_crops_stay_inside_and_hold_about_half_or_more() -> None:
    flipped = 0
    for seed in range(200):
        crop = random_crop(gradient(64, 64), 32, seed).astype(int)
        red, green = crop[..., 0].mean(axis=0), crop[..., 1].mean(axis=1)
        flipped += red[0] > red[-1]
        assert green[0] < green[-1]  # never upside down
        share = abs(red[-1] - red[0]) / 255 * (green[-1] - green[0]) / 255
        assert 0.38 < share <= 1
    assert 70 < flipped < 130


def test_long_pictures() -> None:
    for size in ((300, 20), (20, 300)):
        for seed in range(20):
            assert random_crop(gradient(*size), 16, seed).shape == (16, 16, 3)
