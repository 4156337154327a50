"""Made-up JPEGs for the benchmarks of packing and reading."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from mmts.media import MediaFacts
from mmts.shards import Item

DISTINCT = 64
QUALITY = 90
WORDS = ("dog", "runs", "over", "green", "grass", "two", "people", "watch", "old", "bench")


def jpegs(size: int) -> list[bytes]:
    """DISTINCT pictures of blobs of many sizes with a little noise, about as large as photographs.

    The size in bytes is about that of a photograph of `size` a side at this quality.
    """
    rng = np.random.default_rng(size)
    found = []
    for _ in range(DISTINCT):
        pixels = np.zeros((size, size, 3))
        for blobs in (3, 8, 20, size // 3):
            noise = rng.integers(0, 256, (blobs, blobs, 3), dtype=np.uint8)
            layer = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
            pixels += np.asarray(layer, dtype=float) / blobs**0.8
        pixels = 255 * (pixels - pixels.min()) / np.ptp(pixels)
        grain = rng.integers(-3, 4, (size, size, 1))
        buffer = io.BytesIO()
        image = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
        image.save(buffer, "JPEG", quality=QUALITY)
        found.append(buffer.getvalue())
    return found


def items(folder: Path, size: int, count: int) -> list[Item]:
    """`count` files in the folder, with a caption of some words each."""
    rng, made = np.random.default_rng(0), jpegs(size)
    facts = [MediaFacts.of(data) for data in made]
    folder.mkdir()
    found = []
    for n in range(count):
        path = folder / f"{n:06d}.jpg"
        path.write_bytes(made[n % DISTINCT])
        caption = " ".join(rng.choice(WORDS, rng.integers(6, 14)))
        found.append(
            Item("made", "train", f"{n:06d}", str(path), *facts[n % DISTINCT], None, None,
                 [caption], [f"{n:06d}#0"], [int(rng.integers(200))], {})
        )  # fmt: skip
    return found
