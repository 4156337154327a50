"""Relevancy of video clips and sentences by their verb and noun classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from mmts.errors import InputError

Floats = NDArray[np.float64]
Classes = Sequence[tuple[int, Iterable[int]]]
Key = tuple[int, frozenset[int]]


def relevancy(video_classes: Classes, text_classes: Classes) -> Floats:
    """Mean of the IoU of verb classes and of noun class sets (EPIC-KITCHENS-100, arXiv 2006.13256).

    A clip has one verb class, so that the IoU of the verbs is 1 or 0; the nouns of a clip are a
    set. Computed once for each pair of distinct (verb, nouns), then spread over the rows.

    Args:
        video_classes: (verb class, noun classes) of each video clip, V of them.
        text_classes: (verb class, noun classes) of each sentence, T of them.

    Returns:
        [V, T], float64 in [0, 1]; exactly 1 where both the verb and the set of nouns are equal.

    Raises:
        InputError: no rows, a row that is no such pair or has no noun, a class not a whole number.
    """
    video_key, videos = _distinct(video_classes, "video_classes")
    text_key, texts = _distinct(text_classes, "text_classes")
    return _of_keys(videos, texts).take(text_key, axis=1).take(video_key, axis=0)


def _distinct(classes: Classes, name: str) -> tuple[NDArray[np.int64], list[Key]]:
    """For each row the index of its key, and the distinct keys in the order they first appear."""
    known: dict[Key, int] = {}
    index = [
        known.setdefault(_key(entry, f"{name}[{row}]"), len(known))
        for row, entry in enumerate(classes)
    ]
    if not index:
        raise InputError(f"{name} is empty; it needs one (verb class, noun classes) a row")
    return np.array(index, dtype=np.int64), list(known)


def _key(entry: tuple[int, Iterable[int]], where: str) -> Key:
    try:
        verb, nouns = entry
    except (TypeError, ValueError):
        raise InputError(f"{where} is {entry!r}; it must be (verb class, noun classes)") from None
    if isinstance(nouns, (str, bytes)) or not np.iterable(nouns):
        raise InputError(f"{where} has noun classes {nouns!r}; it must be a list of whole numbers")
    found = tuple(nouns)
    for number in (verb, *found):
        if not isinstance(number, (int, Integral)):
            raise InputError(f"{where} has class {number!r}; a class must be a whole number")
    if not found:
        raise InputError(f"{where} has no noun class, hence no IoU; give at least one or drop it")
    return verb, frozenset(found)


def _of_keys(videos: Sequence[Key], texts: Sequence[Key]) -> Floats:
    column: dict[int, int] = {}
    for _, nouns in (*videos, *texts):
        for noun in nouns:
            column.setdefault(noun, len(column))
    of_videos, of_texts = (_noun_table(keys, column) for keys in (videos, texts))
    found: Floats = (of_videos @ of_texts.T).astype(np.float64)  # common nouns, exact in float32
    union = np.add.outer(of_videos.sum(axis=1), of_texts.sum(axis=1)) - found
    found /= union
    found += np.equal.outer([verb for verb, _ in videos], [verb for verb, _ in texts])
    found /= 2
    return found


def _noun_table(keys: Sequence[Key], column: dict[int, int]) -> NDArray[np.float32]:
    """[keys, nouns]: 1 where the key has the noun."""
    table = np.zeros((len(keys), len(column)), dtype=np.float32)
    for row, (_, nouns) in enumerate(keys):
        table[row, [column[noun] for noun in nouns]] = 1
    return table
