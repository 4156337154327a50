"""A video as it lies on disk: one file, or a folder of chunks named by their start in seconds."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

from mmts.errors import InputError

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts")


class Part(NamedTuple):
    """One file of a video: it holds the frames with start <= t < limit, in seconds."""

    path: Path
    start: float
    limit: float


def parts(path: Path | str) -> list[Part]:
    """The files of a video in order; of a folder `0.MP4`, `15.MP4`, ..., the chunks.

    Raises:
        InputError: nothing is there, or the folder holds no chunks, or two of one start.
    """
    path = Path(path)
    if not path.is_dir():
        return [Part(path, 0.0, math.inf)]
    files: dict[int, Path] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in SUFFIXES and file.stem.isascii() and file.stem.isdigit():
            other = files.setdefault(int(file.stem), file)
            if other is not file:
                raise InputError(f"{path}: {other.name} and {file.name} start at the same second")
    if not files:
        raise InputError(
            f"{path} holds no chunks; they are named by their start in seconds, as 0.MP4, 15.MP4"
        )
    starts = sorted(files)
    limits = [*map(float, starts[1:]), math.inf]
    return [
        Part(files[start], float(start), limit)
        for start, limit in zip(starts, limits, strict=True)
    ]  # fmt: skip


def videos_below(folder: Path) -> dict[str, str]:
    """The video files in a folder, at any depth, by their names without the ending."""
    files: dict[str, str] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            stem, ending = os.path.splitext(name)  # noqa: PTH122, a Path each takes seconds
            if ending.lower() in SUFFIXES:
                files.setdefault(stem, os.path.join(place, name))  # noqa: PTH118
    return files
