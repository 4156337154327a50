"""Decoding: the fast way and Pillow's give the same; large JPEGs decoded smaller differ little."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmts import jpeg
from mmts.augment import random_augment
from mmts.errors import InputError
from mmts.picture import GAP, Picture, decode_image, read_square, scale_for, square
from tests.making import picture

pytest.importorskip("simplejpeg")


def photo(size: tuple[int, int], mode: str = "RGB", **how: Any) -> bytes:
    """A JPEG of soft blobs and some grain."""
    rng = np.random.default_rng(0)
    bands = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    pixels = np.zeros((size[1], size[0], bands))
    for blobs, weight in ((3, 1.0), (12, 0.4), (40, 0.15)):
        noise = rng.integers(0, 256, (blobs, blobs, bands), dtype=np.uint8)
        for band in range(bands):
            layer = Image.fromarray(noise[..., band]).resize(size, Image.Resampling.BICUBIC)
            pixels[..., band] += weight * np.asarray(layer, dtype=float)
    pixels = (pixels / 1.55 + rng.integers(-4, 5, (size[1], size[0], 1))).clip(0, 255)
    buffer = io.BytesIO()
    found = pixels.astype(np.uint8)
    image = Image.fromarray(found[..., 0] if bands == 1 else found, mode)
    image.save(buffer, "JPEG", **{"quality": 90, **how})
    return buffer.getvalue()


def by_pillow(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> Any:
    with monkeypatch.context() as without:
        without.setattr(jpeg, "simplejpeg", None)
        return call()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(64, 48), (33, 17), (1, 1), (7, 100)])
@pytest.mark.parametrize("how", [{}, {"subsampling": 0}, {"progressive": True}])
def test_the_pixels_of_pillow(
    monkeypatch: pytest.MonkeyPatch, mode: str, size: tuple[int, int], how: dict[str, Any]
) -> None:
    data = photo(size, mode, **how)
    wanted = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (jpeg.plain_size(data) == size) == (mode != "CMYK")
    for scale in (1, 2, 4):
        fast = np.asarray(Picture(data).decode(scale))
        usual = by_pillow(monkeypatch, lambda s=scale: np.asarray(Picture(data).decode(s)))
        assert (fast == usual).all()
        if scale == 1:
            assert (fast == wanted).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_left_to_pillow(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = photo((40, 20), exif=exif)
    assert jpeg.plain_size(data) is None
    upright = Picture(data)
    turned = orientation >= 5
    assert upright.size == ((20, 40) if turned else (40, 20))
    assert upright.decode().size == upright.size == upright.decode().size
    with Image.open(io.BytesIO(data)) as image:
        stored = np.asarray(image)
    turn: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
        1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1], 5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
        8: lambda x: np.rot90(x, 1),
    }  # fmt: skip
    assert (np.asarray(decode_image(data)) == turn[orientation](stored)).all()


def test_damaged_jpegs_read_as_without_simplejpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    data, rng = photo((48, 48)), np.random.default_rng(0)
    damaged = [data[: len(data) * n // 20] for n in range(20)]
    for _ in range(60):
        other = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            other[place] = rng.integers(0, 256)
        damaged.append(bytes(other))

    def said(found: bytes) -> Any:
        try:
            return decode_image(found).tobytes()
        except InputError as error:
            return str(error)

    fast = [said(found) for found in damaged]
    usual = by_pillow(monkeypatch, lambda: [said(found) for found in damaged])
    assert fast == usual
    assert sum(isinstance(found, str) for found in fast) >= 15


def test_scale() -> None:
    found = [scale_for(side, side + 9, 10) for side in (39, 40, 79, 80, 159, 160, 999)]
    assert GAP == 2 and found == [1, 2, 2, 4, 4, 8, 8]


@pytest.mark.parametrize("size", [(64, 64), (100, 64), (127, 255), (40, 50)])
def test_read_square_is_square_of_decode(size: tuple[int, int]) -> None:
    data = photo(size)
    out = np.empty((64, 64, 3), np.uint8)
    assert (read_square(data, 64) == square(decode_image(data), 64)).all()
    assert read_square(data, 64, out) is out and (out == read_square(data, 64)).all()
    assert (read_square(picture(0), 16) == square(decode_image(picture(0)), 16)).all()
    with pytest.raises(InputError, match="not a readable picture"):
        read_square(data[: len(data) // 2], 64)


@pytest.mark.parametrize(("side", "scale"), [(128, 2), (257, 4), (700, 8)])
def test_decoded_smaller_differs_by_less_than_a_level(side: int, scale: int) -> None:
    data = photo((side + 31, side))
    assert scale_for(side, side, 32) == scale
    found, wanted = read_square(data, 32), square(decode_image(data), 32)
    difference = np.abs(found.astype(int) - wanted)
    assert 0 < difference.mean() < 1 and difference.max() <= 16
    for seed in range(8):
        found = random_augment(Picture(data), 32, seed)
        wanted = random_augment(decode_image(data), 32, seed)
        assert np.abs(found.astype(int) - wanted).mean() < 1
