"""Captions that are drawn as positives by their relevancy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmts.metrics.relevancy import relevancy
from mmts.training.positives import Classes, RelevantCaptions

CLIPS: list[Classes] = [(0, (1,)), (0, (2,)), (1, (1, 2)), (9, (9,)), (0, (1,)), (2, (1, 3, 4, 5))]
CAPTIONS: list[Classes] = [(0, (1,)), (1, (2, 1)), (2, (3,)), (0, (7,)), (1, (2, 1))]
ROWS = np.array([10, 11, 12, 13, 14])
OWN = np.arange(100, 106)


def made(threshold: float = 0.1) -> RelevantCaptions:
    return RelevantCaptions(CLIPS, CAPTIONS, OWN, ROWS, threshold)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.125, 0.25, 0.5, 0.99])
def test_relevant_captions_by_two_loops(threshold: float) -> None:
    found = made(threshold)
    for number, (verb, nouns) in enumerate(CLIPS):
        wanted = []
        for row, (other, others) in zip(ROWS, CAPTIONS, strict=True):
            shared = len(set(nouns) & set(others)) / len(set(nouns) | set(others))
            if ((verb == other) + shared) / 2 > threshold:
                wanted.append(row)
        assert found.of(number).tolist() == wanted


def test_the_threshold_is_strict() -> None:
    """(2, {1, 3, 4, 5}) and (0, {1}) share one noun of four and no verb: relevancy 0.125."""
    assert relevancy([CLIPS[5]], [CAPTIONS[0]]).item() == 0.125
    assert 10 in made(0.1249).of(5) and 10 not in made(0.125).of(5)


def test_a_clip_without_a_relevant_caption_keeps_its_own() -> None:
    assert made().of(3).size == 0
    assert made().draw(np.random.default_rng(0))[3] == 103


def test_every_relevant_caption_is_drawn_as_often() -> None:
    found, rng = made(), np.random.default_rng(0)
    drawn = np.stack([found.draw(rng) for _ in range(4000)])
    for clip in (0, 2, 5):
        counts = Counter(drawn[:, clip].tolist())
        assert sorted(counts) == found.of(clip).tolist()
        share = 4000 / len(counts)
        assert all(abs(count - share) < 5 * share**0.5 for count in counts.values())
    assert (drawn[:, 0] != drawn[:, 4]).any()  # equal clips are drawn apart
