"""CLIP's text tower."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tokenizers import Tokenizer

from mmts.errors import InputError
from mmts.settings.towers import TextShape, TextTower
from mmts.towers.clip_text import ClipText, ClipTextConfig
from mmts.towers.clip_text_hub import load_text_model, read_config
from mmts.towers.convert import FACTS
from mmts.towers.converted import converted_folder, load_text, read_facts
from mmts.towers.tokens import check_vocabulary, given_tokenizer, train_tokenizer, vocabulary_size
from mmts.towers.tower import Shape, Tower
from mmts.weights import first_file, revision


def build(settings: TextTower, vocabulary: int, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.text_tower`."""
    if shape is not None:
        return ClipText(ClipTextConfig(**shape))
    config = clip_text_config(settings, vocabulary)
    if settings.weights == "random":
        return ClipText(config)
    recompute = settings.gradient_checkpointing
    found = _clip_text_file(settings.weights)
    if found.name != FACTS:
        return load_text_model(settings.weights, gradient_checkpointing=recompute)
    folder = converted_folder(settings.weights)
    tower = load_text(folder, gradient_checkpointing=recompute)
    tower.revision = revision(folder)
    return tower


def tokenizer(settings: TextTower, captions: Callable[[], Iterable[str]]) -> tuple[Tokenizer, int]:
    """Return the tokenizer, and how many tokens the tower takes."""
    given = settings.tokenizer
    found = (
        train_tokenizer(captions(), end_of_text=True) if given is None else given_tokenizer(given)
    )
    return found, clip_text_config(settings, vocabulary_size(found)).context


def clip_text_config(settings: TextTower, vocabulary: int) -> ClipTextConfig:
    """The size of CLIP's text tower; random weights have the vocabulary of the tokenizer.

    Raises:
        InputError: there are no such weights, or they have fewer ids than the tokenizer.
    """
    own = {"gradient_checkpointing": settings.gradient_checkpointing}
    if settings.weights == "random":
        size = (settings.shape or TextShape()).sizes
        return ClipTextConfig(**size, vocabulary=vocabulary, **own)
    found = _clip_text_file(settings.weights)
    if found.name == FACTS:
        facts = read_facts(found.parent)["text"]
    else:
        facts = vars(read_config(settings.weights, found.parent))
    try:
        config = ClipTextConfig(**{**facts, **own})
    except TypeError as error:
        raise InputError(f"{settings.weights}: {FACTS} has an odd text tower ({error})") from None
    check_vocabulary(settings, vocabulary, config.vocabulary)
    return config


def _clip_text_file(spec: str) -> Path:
    """The file that says what a text tower is: of a converted folder, or of transformers."""
    return first_file(
        spec,
        (FACTS, "config.json"),
        "give a CLIP model's folder or hub id, or the folder that `python -m mmts.towers.convert "
        "CHECKPOINT FOLDER` wrote",
    )
