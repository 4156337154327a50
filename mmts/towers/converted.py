"""Towers from a folder that `mmts.towers.convert` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmts.errors import InputError
from mmts.files import read_json
from mmts.towers.clip_text import ClipText, ClipTextConfig
from mmts.towers.convert import FACTS, WEIGHTS
from mmts.towers.divided import DividedViT
from mmts.towers.positions import resize_position, resize_temporal
from mmts.towers.video_vit import VideoViT, VideoViTConfig
from mmts.weights import load_state

TOWERS = {"joint": VideoViT, "divided": DividedViT}
COLOURS = ("mean", "std")  # JSON has lists


class Converted(NamedTuple):
    """Both towers with their weights, and what `towers.json` says."""

    vision: VideoViT
    text: ClipText
    facts: dict[str, Any]


def empty_towers(facts: dict[str, Any]) -> tuple[VideoViT, ClipText]:
    """Both towers on the meta device: names and shapes, no memory, no random numbers."""
    vision: dict[str, Any] = {
        key: tuple(value) if key in COLOURS else value for key, value in facts["vision"].items()
    }
    with torch.device("meta"):
        tower = TOWERS[facts["attention"]](VideoViTConfig(**vision))
        return tower, ClipText(ClipTextConfig(**facts["text"]))


def load_towers(folder: Path, **vision: Any) -> Converted:
    """Both towers; `vision` changes keys of VideoViTConfig, such as `frames=8, drop_path=0.1`.

    Position embeddings are fitted to another `image_size` or `frames`; a `gradient_checkpointing`
    goes to both towers.

    Raises:
        InputError: the folder holds no converted checkpoint, or a key does not exist.
    """
    facts = read_json(folder / FACTS, "run `python -m mmts.towers.convert` first")
    state = load_state(folder / WEIGHTS)
    try:
        settings, text = {**facts["vision"], **vision}, dict(facts["text"])
        if "gradient_checkpointing" in vision:
            text["gradient_checkpointing"] = vision["gradient_checkpointing"]
        towers = empty_towers({**facts, "vision": settings, "text": text})
        config = towers[0].config
        state["vision.position"] = resize_position(state["vision.position"], config.grid)
        state["vision.temporal"] = resize_temporal(state["vision.temporal"], config.frames)
        for side, tower in zip(("vision.", "text."), towers, strict=True):
            own = {
                name.removeprefix(side): value.to(torch.float32, copy=True)  # off the mapped file
                for name, value in state.items()
                if name.startswith(side)
            }
            tower.load_state_dict(own, assign=True)
        towers[0].set_colours()
    except InputError:
        raise
    except (KeyError, TypeError, RuntimeError) as error:
        problem = " ".join(str(error).split())[:160]
        raise InputError(f"{folder} holds no converted towers of that kind ({problem})") from None
    return Converted(*towers, facts)
