"""Made-up annotation files in the official format of EPIC-KITCHENS-100 retrieval."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tests.making import write_table

Row = dict[str, str]
VERBS = ("take", "put", "wash", "open")
TRAIN_VIDEOS = tuple(f"P{person:02d}_{video:02d}" for person in (1, 2) for video in range(1, 6))
TEST_VIDEOS = ("P01_11", "P03_01")
NEW_NOUN = 299  # a class that only the test file has


def clip(
    video: str, number: int, verb: int = 0, nouns: tuple[int, ...] = (0,), **other: str
) -> Row:
    """A row of a train or test file; `other` replaces values."""
    start = 2 * number
    frames = {"start_frame": f"{60 * start + 1}", "stop_frame": f"{60 * start + 90}"}
    row = {
        "narration_id": f"{video}_{number}",
        "participant_id": video.split("_")[0],
        "video_id": video,
        "narration_timestamp": f"00:00:{start:02d}.100",
        "start_timestamp": f"00:00:{start:02d}.00",
        "stop_timestamp": f"00:00:{start + 1:02d}.50",
        **frames,
        "narration": f"{VERBS[verb]} {' and '.join(f'thing {noun}' for noun in nouns)}",
        "verb": VERBS[verb],
        "verb_class": str(verb),
        "noun": f"thing {nouns[0]}",
        "noun_class": str(nouns[0]),
        "all_nouns": str([f"thing {noun}" for noun in nouns]),
        "all_noun_classes": str(list(nouns)),
    }
    assert set(other) <= set(row)
    return {**row, **other}


def clips(videos: Iterable[str], each: int = 6, seed: int = 0) -> list[Row]:
    """Clips of long-tailed verbs and nouns, some with two nouns."""
    rng = np.random.default_rng(seed)
    rows = []
    for video in videos:
        for number in range(each):
            verb, first, second = (int(n) for n in rng.integers(0, 4, 3) * rng.integers(0, 2, 3))
            nouns = (first, second) if number == 0 and first != second else (first,)
            rows.append(clip(video, number, verb, nouns))
    return rows


def sentences(test: list[Row]) -> list[Row]:
    """The rows of a sentence file: the first clip of each narration."""
    first = {row["narration"]: row["narration_id"] for row in reversed(test)}
    return [{"narration_id": name, "narration": text} for text, name in reversed(first.items())]


def write_ek100(
    folder: Path, train: list[Row] | None = None, test: list[Row] | None = None
) -> tuple[list[Row], list[Row]]:
    """Write the four files that are read; return the train and test rows.

    The test rows made here end with a noun class that training lacks.
    """
    train = clips(TRAIN_VIDEOS) if train is None else train
    if test is None:
        test = [*clips(TEST_VIDEOS, seed=1), clip("P03_01", 20, 1, (NEW_NOUN,))]
    write_table(folder / "EPIC_100_retrieval_train.csv", train)
    write_table(folder / "EPIC_100_retrieval_train_sentence.csv", sentences(train))
    write_table(folder / "EPIC_100_retrieval_test.csv", test)
    write_table(folder / "EPIC_100_retrieval_test_sentence.csv", sentences(test))
    return train, test
