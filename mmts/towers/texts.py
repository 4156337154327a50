"""The tokenizer that the settings of a text tower ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tokenizers import Tokenizer

from mmts.errors import InputError
from mmts.files import read_json
from mmts.settings.towers import TextTower
from mmts.towers.build import check_vocabulary, clip_text_config
from mmts.towers.extras import open_clip_sizes
from mmts.towers.pretrained import DISTILBERT, check_type
from mmts.towers.small import PAD
from mmts.towers.tokens import (
    cut_to,
    distilbert_tokenizer,
    given_tokenizer,
    pad_with,
    train_tokenizer,
    vocabulary_size,
)
from mmts.weights import model_files

DISTILBERT_CONTEXT = 512


def text_tokenizer(settings: TextTower, captions: Callable[[], Iterable[str]]) -> Tokenizer:
    """A tokenizer that cuts and pads as the tower wants it: learned, or the one that is named.

    Args:
        settings: `towers.text` of a tower that reads tokens.
        captions: the training captions; called where a tokenizer is learned.

    Raises:
        InputError: it cannot be loaded, or does not fit the tower.
    """
    if settings.name == "clip_text":
        given = settings.tokenizer
        tokenizer = (
            train_tokenizer(captions(), end_of_text=True)
            if given is None
            else given_tokenizer(given)
        )
        context = clip_text_config(settings, vocabulary_size(tokenizer)).context
    elif settings.name == "open_clip":
        tokenizer = given_tokenizer(str(settings.tokenizer))
        context, own = open_clip_sizes(settings)
        check_vocabulary(settings, vocabulary_size(tokenizer), own)
    elif settings.name == "distilbert":
        tokenizer, context = _distilbert(settings, captions)
    else:
        return train_tokenizer(captions())
    if settings.max_tokens is not None and settings.max_tokens > context:
        raise InputError(
            f"towers.text.max_tokens is {settings.max_tokens} but {settings.name} takes {context} "
            "at most; lower it"
        )
    cut_to(tokenizer, settings.max_tokens or context)
    return tokenizer


def _distilbert(
    settings: TextTower, captions: Callable[[], Iterable[str]]
) -> tuple[Tokenizer, int]:
    """The tokenizer, and how many tokens the tower takes."""
    pad, context = PAD, DISTILBERT_CONTEXT
    if settings.shape is not None:
        context = settings.shape.context
    if settings.weights != "random":
        folder = model_files(settings.weights, ("config.json",), DISTILBERT.remedy)
        check_type(DISTILBERT, settings.weights, folder)
        facts = read_json(folder / "config.json", DISTILBERT.remedy, ours=False)
        pad = facts.get("pad_token_id", pad)
        context = facts.get("max_position_embeddings", context)
    given = settings.tokenizer
    if given is None and settings.weights != "random":
        given = settings.weights
    if given is None:
        tokenizer = train_tokenizer(captions())
    else:
        tokenizer = distilbert_tokenizer(given, pad, settings.pooling == "cls")
    pad_with(tokenizer, pad)
    return tokenizer, context
