"""Settings -> towers with their weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from mmts.errors import InputError
from mmts.kinds import TEXT_TOWERS, VISION_TOWERS
from mmts.kinds.stream import StreamKind
from mmts.settings.towers import TextTower, VisionTower
from mmts.towers.tower import Shape, Tower


def vision_tower(settings: VisionTower, shape: Shape | None = None) -> Tower:
    """The vision encoder: weights from where the settings say, random only where they say so.

    Args:
        settings: `towers.vision`.
        shape: that of a trained tower of these settings; all weights are random then, and nothing
            is read.

    Raises:
        InputError: there are no such weights, or they belong to another model.
    """
    tower: Tower = VISION_TOWERS.import_(settings.name).build(settings, shape)
    return tower


def text_tower(settings: TextTower, vocabulary: int, shape: Shape | None = None) -> Tower:
    """The text encoder that reads tokens.

    Args:
        settings: `towers.text`.
        vocabulary: number of ids of the tokenizer.
        shape: as in `vision_tower`.

    Raises:
        InputError: there are no such weights, or fewer ids in them than in the vocabulary.
    """
    kind = TEXT_TOWERS.import_(settings.name)
    tower: Tower = kind.build(settings, vocabulary, shape)
    return tower


def stream_encoders(streams: Mapping[str, StreamKind]) -> nn.ModuleDict:
    """Return the encoder of each stream by name; InputError where one has no `dim`."""
    found = {name: kind.encoder() for name, kind in streams.items()}
    for name, encoder in found.items():
        if not isinstance(encoder, nn.Module) or not isinstance(getattr(encoder, "dim", None), int):
            raise InputError(
                f"stream {name}: `encoder` of {streams[name].kind} gives a "
                f"{type(encoder).__name__} without a `dim`; let it give an nn.Module whose `dim` "
                "is how many features it has"
            )
    return nn.ModuleDict(found)
