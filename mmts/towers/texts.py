"""The tokenizer that the settings of a text tower ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tokenizers import Tokenizer

from mmts.errors import InputError
from mmts.kinds import TEXT_TOWERS
from mmts.settings.towers import TextTower
from mmts.towers.tokens import cut_to


def text_tokenizer(settings: TextTower, captions: Callable[[], Iterable[str]]) -> Tokenizer:
    """A tokenizer that cuts and pads as the tower wants it: learned, or the one that is named.

    Args:
        settings: `towers.text` of a tower that reads tokens.
        captions: the training captions; called where a tokenizer is learned.

    Raises:
        InputError: it cannot be loaded, or does not fit the tower.
    """
    kind = TEXT_TOWERS.import_(settings.name)
    tokenizer, context = kind.tokenizer(settings, captions)
    if context is not None:
        if settings.max_tokens is not None and settings.max_tokens > context:
            raise InputError(
                f"towers.text.max_tokens is {settings.max_tokens} but {settings.name} takes "
                f"{context} at most; lower it"
            )
        cut_to(tokenizer, settings.max_tokens or context)
    found: Tokenizer = tokenizer
    return found
