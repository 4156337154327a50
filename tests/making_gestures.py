"""Tiny webm files with a long tail, in the official form of Something-Something v2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.making_ssv2 import LABELS, Entry, entries, write_ssv2
from tests.making_video import write_video

CLASSES = tuple(label for label in LABELS if label.count("omething") == 1)[:12]
THINGS = {"tomato": (255, 60, 60), "pear": (60, 255, 90), "plum": (80, 90, 255)}
SIDE, COLUMNS, ROWS, RATE, FRAMES = 32, 4, 3, 12, 8
FAST = {"deadline": "realtime", "cpu-used": "8"}


def write_gestures(raw: Path, train: Mapping[str, int], test: int) -> None:
    """Write a webm file a clip, and the three files of annotations.

    Where the square is tells the class, its colour the thing.

    Args:
        raw: the folder of the raw files.
        train: clips of each class to train on.
        test: clips of each class to test on.
    """
    of_train = entries(train, things=tuple(THINGS))
    of_test = entries(dict.fromkeys(train, test), first=len(of_train) + 1, things=tuple(THINGS))
    write_ssv2(raw, of_train, of_test)
    (raw / "videos").mkdir()
    rng = np.random.default_rng(0)
    for entry in [*of_train, *of_test]:
        write_video(
            raw / f"videos/{entry['id']}.webm", [], rate=RATE, size=(SIDE, SIDE),
            frames=list(_seen(entry, rng)), codec="libvpx-vp9", b_frames=0, options=FAST,
        )  # fmt: skip


def _seen(entry: Entry, rng: np.random.Generator) -> NDArray[np.uint8]:
    """[FRAMES, SIDE, SIDE, 3]."""
    label = str(entry["template"]).replace("[", "").replace("]", "")
    row, column = divmod(CLASSES.index(label), COLUMNS)
    (thing,) = entry["placeholders"]  # type: ignore[misc]
    frames = rng.normal(60, 8, (FRAMES, SIDE, SIDE, 1)) * np.ones(3)
    high, wide = SIDE // ROWS, SIDE // COLUMNS
    frames[:, row * high : (row + 1) * high, column * wide : (column + 1) * wide] = THINGS[thing]
    return np.clip(frames, 0, 255).astype(np.uint8)
