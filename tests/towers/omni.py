"""A small omni-modal model with random weights, and a batch for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from mmts.settings import shapes
from mmts.towers.beats import Beats
from mmts.towers.bert import Bert
from mmts.towers.eva_clip import EvaClip
from mmts.towers.omni import ORDER, Omni

VOCABULARY, MELS, WORDS, FRAMES = 50, 32, 7, 3


def tiny(of: Any) -> Any:
    """The shape `tiny` of an encoder."""
    return TypeAdapter(of).validate_python("tiny")


def bert(cross: bool = False) -> Bert:
    """A BERT with random weights."""
    return Bert.random(VOCABULARY, tiny(shapes.Bert), cross)


def omni(streams: tuple[str, ...] = ORDER, matching: bool = True) -> Omni:
    """An omni-modal model, in training mode; nothing in it is left to chance there."""
    made = {
        "vision": EvaClip.random(32, tiny(shapes.Eva)),
        "audio": Beats(tiny(shapes.Beats)),
    }
    places = {"vision": FRAMES, "audio": 1} if matching else None
    encoders = {name: of for name, of in made.items() if name in streams}
    return Omni(streams, encoders, bert(matching), 16, places)


def batch(rows: int = 4) -> tuple[Mapping[str, Tensor], Tensor]:
    """Streams and captions."""
    draw = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (rows, FRAMES, 3, 32, 32), generator=draw, dtype=torch.uint8)
    audio = torch.randn(rows, 1, 64, MELS, generator=draw)
    words = torch.randint(1, VOCABULARY, (2, rows, WORDS), generator=draw)
    return {"frames": frames, "audio": audio, "subtitle": words[0]}, words[1]
