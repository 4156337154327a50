"""Videos of dishes that one can see, hear and read: data in YouCook2's official form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.making_video import write_video

NOUNS = {"tomato": (255, 60, 60), "spinach": (60, 255, 90), "blueberry": (80, 90, 255)}
VERBS = {"chop": 1.0, "boil": 0.7, "fry": 0.45, "bake": 0.2}
"""Colours, and how bright they are."""
DISHES = [(verb, noun) for noun in NOUNS for verb in VERBS]
SIDE, RATE, SECONDS, EACH = 32, 4, 2, 6
SOUND_RATE = 16_000


def caption(dish: int) -> str:
    """What is said of a dish; no two dishes share it."""
    verb, noun = DISHES[dish]
    return f"{verb} the {noun}"


def name(video: int) -> str:
    """The id of a video, 11 characters as YouTube has them."""
    return f"dish{video:07d}"


def write_dishes(
    raw: Path, train: int = 20, test: int = 2, *, silent: int | None = None, mute: int = 0
) -> None:
    """Write videos of 6 clips each, their annotations, and a table of subtitles.

    Each stream alone tells which dish a clip is of. Two test videos have every dish once.

    Args:
        raw: the folder of the raw files.
        train, test: numbers of videos.
        silent: the video without a sound track.
        mute: how many clips of the last videos have no subtitle.
    """
    rng = np.random.default_rng(0)
    subtitles = ["video_id,subtitle"]
    database = {}
    for video in range(train + test):
        training = video < train
        start = video * EACH if training else (video - train) * EACH
        dishes = [(start + n) % len(DISHES) for n in range(EACH)]
        folder = raw / "raw_videos" / ("training" if training else "validation") / "101"
        folder.mkdir(parents=True, exist_ok=True)
        write_video(
            folder / f"{name(video)}.mp4", [], rate=RATE, size=(SIDE, SIDE),
            frames=[frame for dish in dishes for frame in seen(dish, rng)],
            sound=None if video == silent else np.concatenate([heard(d, rng) for d in dishes]),
        )  # fmt: skip
        segments = [(n * SECONDS, (n + 1) * SECONDS) for n in range(EACH)]
        database[name(video)] = {
            "subset": "training" if training else "validation",
            "recipe_type": "101",
            "annotations": [
                {"id": n, "segment": list(span), "sentence": caption(dish)}
                for n, (span, dish) in enumerate(zip(segments, dishes, strict=True))
            ],
        }
        for (begin, end), dish in zip(segments, dishes, strict=True):
            subtitles.append(f"{name(video)}_{begin}_{end},{spoken(dish, rng)}")
    if mute:
        subtitles[-mute:] = [f"{line.partition(',')[0]}," for line in subtitles[-mute:]]
    (raw / "youcookii_annotations_trainval.json").write_text(json.dumps({"database": database}))
    (raw / "subtitles.csv").write_text("\n".join(subtitles) + "\n")


def seen(dish: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """[8, SIDE, SIDE, 3]: the dish's colour under noise."""
    verb, noun = DISHES[dish]
    colour = VERBS[verb] * np.array(NOUNS[noun])
    noise = rng.normal(0, 8, (SECONDS * RATE, SIDE, SIDE, 1))
    return np.clip(colour + noise, 0, 255).astype(np.uint8)


def heard(dish: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Two seconds of the dish's tone, from 200 to 5,000 Hz."""
    pitch = 200 * 25 ** (dish / (len(DISHES) - 1))
    time = np.arange(SECONDS * SOUND_RATE) / SOUND_RATE
    tone = 0.3 * np.sin(2 * np.pi * (pitch * time + rng.random()))
    return (tone + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


def spoken(dish: int, rng: np.random.Generator) -> str:
    """What is said while it is cooked."""
    verb, noun = DISHES[dish]
    return f"{rng.choice(['we', 'now', 'so'])} {verb} {noun} well"
