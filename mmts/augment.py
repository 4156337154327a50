"""Random resized crop, flip and RandAugment of one picture, from a seed of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from mmts.errors import InputError
from mmts.picture import Box, Picture, in_scale, scale_for

AREA = (0.5, 1.0)
ASPECT = (3 / 4, 4 / 3)
TRIES = 10
MAGNITUDES = 30
"""Of RandAugment's scale: 0 leaves a picture nearly as it is, 30 changes it most."""
GREY = (128, 128, 128)
Operation = Callable[[Image.Image, float, float], Image.Image]


def random_box(
    width: int, height: int, rng: np.random.Generator, crop_area: tuple[float, float] = AREA
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a random crop, by the rule of RandomResizedCrop.

    An area and an aspect are drawn until the crop fits into the picture, and then its place. After
    `TRIES` crops that do not fit it is the largest crop in the centre whose aspect is in `ASPECT`.

    Args:
        width, height: Size of the picture in pixels.
        rng: Source of the random numbers.
        crop_area: Bounds of the crop's share of the area.
    """
    log_aspect = math.log(ASPECT[0]), math.log(ASPECT[1])
    for _ in range(TRIES):
        area = width * height * rng.uniform(*crop_area)
        aspect = math.exp(rng.uniform(*log_aspect))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = (int(rng.integers(space + 1)) for space in (width - w, height - h))
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * ASPECT[1])))
    h = min(height, max(1, round(width / ASPECT[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def random_augment(
    image: Image.Image | Picture,
    size: int,
    seed: int,
    *,
    crop_area: tuple[float, float] = AREA,
    ops: int = 0,
    magnitude: int = 0,
) -> NDArray[np.uint8]:
    """A random crop, flipped half of the time, then RandAugment (arXiv 1909.13719).

    Args:
        image: in RGB; or a file, of which a large JPEG is decoded smaller, as `scale_for` says.
        size: pixels a side of the result, [size, size, 3] uint8.
        seed: of all that is drawn. Crop and flip do not depend on ops and magnitude.
        crop_area: bounds of the crop's share of the area.
        ops: N of the paper, operations one after the other, drawn with repeats from OPERATIONS.
        magnitude: M of the paper, 0 to MAGNITUDES, the same for all of them.

    Raises:
        InputError: a number out of its bounds; a file that cannot be decoded.
    """
    if not 0 < crop_area[0] <= crop_area[1] <= 1:
        raise InputError(f"crop_area is {crop_area}; it must be two shares, 0 < low <= high <= 1")
    if ops < 0 or not 0 <= magnitude <= MAGNITUDES:
        raise InputError(
            f"ops is {ops} and magnitude {magnitude}; ops must be >= 0, magnitude 0..{MAGNITUDES}"
        )
    rng = np.random.default_rng(seed)
    box: Box = random_box(*image.size, rng, crop_area)
    if isinstance(image, Picture):
        scale = scale_for(box[2] - box[0], box[3] - box[1], size)
        decoded = image.decode(scale)
        box = in_scale(box, image.size, decoded.size, scale)
    else:
        decoded = image
    crop = decoded.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for _ in range(ops):
        operation = OPERATIONS[NAMES[rng.integers(len(NAMES))]]
        sign = 1.0 if rng.random() < 0.5 else -1.0
        crop = operation(crop, magnitude / MAGNITUDES, sign)
    return np.asarray(crop, dtype=np.uint8)


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    """What the output pixel (x, y) takes from (ax + by + c, dx + ey + f); grey from outside."""
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY
    )


def _rotate(image: Image.Image, share: float, sign: float) -> Image.Image:
    return image.rotate(sign * share * 30, Image.Resampling.BILINEAR, fillcolor=GREY)


def _shear_x(image: Image.Image, share: float, sign: float) -> Image.Image:
    shear = sign * share * 0.3
    return _affine(image, (1, shear, -shear * image.height / 2, 0, 1, 0))


def _shear_y(image: Image.Image, share: float, sign: float) -> Image.Image:
    shear = sign * share * 0.3
    return _affine(image, (1, 0, 0, shear, 1, -shear * image.width / 2))


def _translate_x(image: Image.Image, share: float, sign: float) -> Image.Image:
    return _affine(image, (1, 0, sign * share * 0.45 * image.width, 0, 1, 0))


def _translate_y(image: Image.Image, share: float, sign: float) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, sign * share * 0.45 * image.height))


def _solarize(image: Image.Image, share: float, _: float) -> Image.Image:
    return ImageOps.solarize(image, round(256 * (1 - share)))


def _posterize(image: Image.Image, share: float, _: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(4 * share))


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    """Between 0.1 and 1.9 times as much of a quality."""
    return lambda image, share, sign: kind(image).enhance(1 + sign * share * 0.9)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, *_: image,
    "auto_contrast": lambda image, *_: ImageOps.autocontrast(image),
    "equalize": lambda image, *_: ImageOps.equalize(image),
    "rotate": _rotate,
    "solarize": _solarize,
    "color": _enhanced(ImageEnhance.Color),
    "posterize": _posterize,
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""The fourteen of the paper: (picture, share of the greatest magnitude, sign) -> picture."""

NAMES = tuple(OPERATIONS)
