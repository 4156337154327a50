"""A small transformer of ours, trained from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tokenizers import Tokenizer

from mmts.settings.towers import TextTower
from mmts.towers.small import SmallTextTransformer
from mmts.towers.tokens import train_tokenizer
from mmts.towers.tower import Shape, Tower


def build(settings: TextTower, vocabulary: int, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.text_tower`."""
    return SmallTextTransformer(vocabulary)


def tokenizer(
    settings: TextTower, captions: Callable[[], Iterable[str]]
) -> tuple[Tokenizer, int | None]:
    """Return a tokenizer learned from the captions, which cuts them itself."""
    return train_tokenizer(captions()), None
