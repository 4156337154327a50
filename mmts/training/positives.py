"""Captions of other clips that describe a clip nearly as well as its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmts.metrics.relevancy import relevancy

Ints = NDArray[np.int64]
Classes = tuple[int, tuple[int, ...]]
Key = tuple[int, frozenset[int]]
BLOCK = 512  # distinct clips whose relevancy is computed at a time


class RelevantCaptions:
    """For each clip the captions whose relevancy to it is strictly above a threshold.

    The training of LaViLa and AVION on EPIC-KITCHENS-100 (arXiv 2212.04501, 2309.16669) draws a
    clip's positive caption from these, anew in each epoch.
    """

    def __init__(
        self, clips: Sequence[Classes], captions: Sequence[Classes], own: Ints, rows: Ints,
        threshold: float,
    ) -> None:  # fmt: skip
        """
        Args:
            clips: verb class and noun classes of each clip.
            captions: those of each caption that may be drawn.
            own: [clips], the number of the clip's own caption, drawn where no other is relevant.
            rows: [captions], the number of each caption that may be drawn.
            threshold: in [0, 1).
        """
        self._own, self._rows = own, rows
        keys, self._key = _distinct(clips)
        others, self._caption_key = _distinct(captions)
        self._relevant = np.concatenate(
            [
                relevancy(keys[start : start + BLOCK], others) > threshold
                for start in range(0, len(keys), BLOCK)
            ]
        )

    def of(self, clip: int) -> Ints:
        """The numbers of the captions that are relevant to a clip, in rising order of place."""
        return self._of_key(int(self._key[clip]))

    def draw(self, rng: np.random.Generator) -> Ints:
        """[clips]: for each clip one of its relevant captions, all with one probability."""
        drawn = self._own.copy()
        chance = rng.random(len(drawn))
        by_key = np.argsort(self._key, kind="stable")
        ends = np.cumsum(np.bincount(self._key, minlength=len(self._relevant)))
        for key, clips in enumerate(np.split(by_key, ends[:-1])):
            found = self._of_key(key)
            if len(found):
                drawn[clips] = found[(chance[clips] * len(found)).astype(np.int64)]
        return drawn

    def _of_key(self, key: int) -> Ints:
        found: Ints = self._rows[self._relevant[key, self._caption_key]]
        return found


def _distinct(classes: Sequence[Classes]) -> tuple[list[Key], Ints]:
    """Distinct classes in order of first appearance, and which of them each row has."""
    number: dict[Key, int] = {}
    key = [number.setdefault((verb, frozenset(nouns)), len(number)) for verb, nouns in classes]
    return list(number), np.array(key, dtype=np.int64)
