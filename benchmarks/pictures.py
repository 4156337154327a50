"""Made-up JPEGs for the benchmarks of packing, reading and training."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mmts.media import MediaFacts
from mmts.shards import Item

DISTINCT = 64
QUALITY = 90
CLUSTERS = 200
WORDS = ("dog", "runs", "over", "green", "grass", "two", "people", "watch", "old", "bench")


def jpegs(size: int, count: int = DISTINCT, seed: int | None = None) -> list[bytes]:
    """`count` pictures of blobs of many sizes with a little noise.

    The size in bytes is about that of a photograph of `size` a side at this quality.
    """
    rng = np.random.default_rng(size if seed is None else [size, seed])
    found = []
    for _ in range(count):
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
    """`count` files in the folder, DISTINCT pictures again and again, with a caption each."""
    made = jpegs(size)
    folder.mkdir()
    return _written(folder, 0, [made[n % DISTINCT] for n in range(count)])


def distinct_items(folder: Path, size: int, count: int, processes: int) -> list[Item]:
    """`count` files in the folder, all of them different pictures, with a caption each."""
    folder.mkdir()
    starts = range(0, count, DISTINCT)
    with ProcessPoolExecutor(processes) as pool:
        parts = pool.map(partial(_part, folder, size, count), starts)
        return [item for part in parts for item in part]


def _part(folder: Path, size: int, count: int, start: int) -> list[Item]:
    return _written(folder, start, jpegs(size, min(DISTINCT, count - start), start))


def _written(folder: Path, start: int, pictures: list[bytes]) -> list[Item]:
    """Files and items numbered from `start`."""
    rng, facts_of = np.random.default_rng(start), {}
    found = []
    for n, data in enumerate(pictures, start):
        if data not in facts_of:
            facts_of[data] = MediaFacts.of(data)
        path = folder / f"{n:06d}.jpg"
        path.write_bytes(data)
        caption = " ".join(rng.choice(WORDS, rng.integers(6, 14)))
        found.append(
            Item("made", "train", f"{n:06d}", str(path), *facts_of[data], None, None,
                 [caption], [f"{n:06d}#0"], [int(rng.integers(CLUSTERS))], {})
        )  # fmt: skip
    return found
