"""A text tower of open_clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tokenizers import Tokenizer

from mmts.settings.towers import TextTower
from mmts.towers.extras import open_clip_sizes, open_clip_text
from mmts.towers.tokens import check_vocabulary, given_tokenizer, vocabulary_size
from mmts.towers.tower import Shape, Tower


def build(settings: TextTower, vocabulary: int, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.text_tower`."""
    return open_clip_text(settings, shape)


def tokenizer(settings: TextTower, captions: Callable[[], Iterable[str]]) -> tuple[Tokenizer, int]:
    """Return the tokenizer, and how many tokens the tower takes."""
    found = given_tokenizer(str(settings.tokenizer))
    context, own = open_clip_sizes(settings)
    check_vocabulary(settings, vocabulary_size(found), own)
    return found, context
