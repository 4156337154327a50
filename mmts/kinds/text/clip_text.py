"""CLIP's text tower."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from mmts.kinds.text._parts import Transformer
from mmts.settings.base import Text
from mmts.settings.shapes import TextShape

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mmts.towers.clip_text import ClipTextConfig
    from mmts.towers.tower import Shape, Tower


class Kind(Transformer):
    """CLIP's text tower."""

    name: Literal["clip_text"]
    weights: Text
    """`random`; a folder or hub id of a CLIP model of transformers; or a folder that
    mmts.towers.convert wrote, or a hub id of one."""

    @model_validator(mode="after")
    def _given(self) -> Self:
        if self.tokenizer is None and self.weights != "random":
            raise ValueError("tokenizer is missing; clip_text with weights needs its own one")
        return self

    def build(self, vocabulary: int, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.clip_text import ClipText, ClipTextConfig
        from mmts.towers.clip_text_given import load_given

        if shape is not None:
            return ClipText(ClipTextConfig(**shape))
        config = self.config(vocabulary)
        return ClipText(config) if self.weights == "random" else load_given(self.weights, config)

    def make_tokenizer(self, captions: Callable[[], Iterable[str]]) -> Tokenizer:
        """Return the one that is named, or one that is learned from the captions."""
        from mmts.towers.tokens import given_tokenizer, train_tokenizer, vocabulary_size

        if self.tokenizer is None:
            found = train_tokenizer(captions(), end_of_text=True)
        else:
            found = given_tokenizer(self.tokenizer)
        return self.cut(found, self.config(vocabulary_size(found)).context)

    def config(self, vocabulary: int) -> ClipTextConfig:
        """Return the tower's size; random weights have the vocabulary of the tokenizer.

        Raises:
            InputError: there are no such weights, or they have fewer ids than the tokenizer.
        """
        from mmts.towers.clip_text import ClipTextConfig
        from mmts.towers.clip_text_given import given_config
        from mmts.towers.tokens import check_vocabulary

        more: Shape = {"gradient_checkpointing": self.gradient_checkpointing}
        if self.weights == "random":
            sizes = (self.shape or TextShape()).sizes
            return ClipTextConfig(**sizes, vocabulary=vocabulary, **more)
        config = given_config(self.weights, **more)
        check_vocabulary(self, vocabulary, config.vocabulary)
        return config
