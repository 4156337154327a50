"""DistilBERT of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tokenizers import Tokenizer

from mmts.files import read_json
from mmts.settings.towers import TextTower
from mmts.towers.distilbert import DistilBert
from mmts.towers.pretrained import DISTILBERT, check_type
from mmts.towers.tokens import (
    PAD,
    check_vocabulary,
    distilbert_tokenizer,
    pad_with,
    train_tokenizer,
)
from mmts.towers.tower import Shape, Tower
from mmts.weights import model_files

DISTILBERT_CONTEXT = 512


def build(settings: TextTower, vocabulary: int, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.text_tower`."""
    assert settings.pooling is not None
    more: Shape = {"gradient_checkpointing": settings.gradient_checkpointing}
    if shape is not None:
        return DistilBert.empty(shape, settings.pooling, **more)
    if settings.weights == "random":
        sizes = None if settings.shape is None else settings.shape.sizes
        return DistilBert.random(vocabulary, sizes, settings.pooling, **more)
    tower = DistilBert.load(settings.weights, settings.pooling, **more)
    check_vocabulary(settings, vocabulary, tower.model.config.vocab_size)
    return tower


def tokenizer(settings: TextTower, captions: Callable[[], Iterable[str]]) -> tuple[Tokenizer, int]:
    """Return the tokenizer, and how many tokens the tower takes."""
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
        found = train_tokenizer(captions())
    else:
        found = distilbert_tokenizer(given, pad, settings.pooling == "cls")
    pad_with(found, pad)
    return found, context
