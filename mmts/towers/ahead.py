"""Whether a dataset's model can be built, known before hours of packing rather than after."""

from __future__ import annotations

from mmts.settings import Head, Towers
from mmts.towers.build import clip_text_config, text_tower, vision_tower
from mmts.towers.tokens import given_tokenizer, vocabulary_size
from mmts.towers.two_tower import TwoTower

LEARNED = 512  # stands for the vocabulary of a tokenizer that is learned later


def try_model(towers: Towers, head: Head | None) -> None:
    """Build the model once, with its weights and tokenizer.

    Raises:
        InputError: what building it in `train` would raise: weights or a tokenizer that are not
            there or do not fit, features of two lengths without a head, wrong frozen_parts.
    """
    vocabulary = LEARNED
    if towers.text.tokenizer is not None:
        vocabulary = vocabulary_size(given_tokenizer(towers.text.tokenizer))
    if towers.text.name == "clip_text":
        vocabulary = clip_text_config(towers.text, vocabulary).vocabulary
    dims = {"vocabulary": vocabulary}
    if towers.vision.frozen != towers.text.frozen:  # how long cached features are is not known yet
        trained = text_tower(towers.text, vocabulary) if towers.vision.frozen else None
        dim = (trained or vision_tower(towers.vision)).dim
        dims |= {"vision": dim, "text": dim}
    TwoTower(towers, head, dims)
