"""Random resized crop and flip of one picture, from a seed of its own."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

AREA = (0.5, 1.0)
ASPECT = (3 / 4, 4 / 3)


def random_box(
    width: int, height: int, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a crop of 50-100 % of the area."""
    area = width * height * rng.uniform(*AREA)
    aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    w = min(width, math.sqrt(area * aspect))
    h = min(height, math.sqrt(area / aspect))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return left, top, left + w, top + h


def random_crop(image: Image.Image, size: int, seed: int) -> NDArray[np.uint8]:
    """A crop of 50-100 % of the area as [size, size, 3] uint8, flipped half of the time."""
    rng = np.random.default_rng(seed)
    box = random_box(*image.size, rng)
    crop = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(crop, dtype=np.uint8)
