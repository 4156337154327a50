"""A kitchen of coloured squares that move: videos and annotations in EPIC-KITCHENS-100's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.making_ek100 import Row, clip, write_ek100
from tests.making_video import write_video

COLOURS = ((230, 40, 40), (40, 200, 60), (50, 80, 240), (230, 220, 50))  # of nouns
MOTIONS = ((1, 0), (-1, 0), (0, 1), (0, 0))  # of verbs: pixels a frame, to the right and down
SHARES = (0.4, 0.3, 0.2, 0.1)  # of the classes: a long tail
SIDE, SQUARE, RATE, EACH = 48, 24, 8, 6
SECONDS = 2 * EACH  # `clip` has a clip start every 2 seconds and last 1.5


def write_kitchen(raw: Path, train: int = 16, test: int = 4, seed: int = 0) -> None:
    """Write `train` + `test` videos of 6 clips each, and their annotations."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    (raw / "videos").mkdir(parents=True)
    for video in range(train + test):
        name = f"P{video % 4:02d}_{video:02d}"
        pixels = np.zeros((SECONDS * RATE, SIDE, SIDE, 3), dtype=np.uint8)
        for number in range(EACH):
            verb, noun = (int(n) for n in rng.choice(4, 2, p=SHARES))
            first = 2 * number * RATE
            pixels[first : first + 3 * RATE // 2] = moving(verb, noun, rng)
            rows.append(clip(name, number, verb, (noun,)))
        write_video(
            raw / "videos" / f"{name}.MP4", [], rate=RATE, size=(SIDE, SIDE), frames=list(pixels)
        )
    write_ek100(raw, rows[: train * EACH], rows[train * EACH :])


def moving(verb: int, noun: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """[12, SIDE, SIDE, 3]: a square of the noun's colour in the verb's motion, on dark noise."""
    frames = rng.integers(0, 20, (3 * RATE // 2, SIDE, SIDE, 3), dtype=np.uint8)
    right, down = MOTIONS[verb]
    x, y = rng.integers(10, SIDE - SQUARE - 9, 2)
    for number, frame in enumerate(frames):
        step = 2 * (number - len(frames) // 2)
        left, top = (
            int(np.clip(v + step * s, 0, SIDE - SQUARE)) for v, s in ((x, right), (y, down))
        )
        frame[top : top + SQUARE, left : left + SQUARE] = COLOURS[noun]
    return frames
