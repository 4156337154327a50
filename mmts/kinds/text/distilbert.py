"""DistilBERT of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from mmts.kinds.text._parts import Transformer
from mmts.settings.base import Text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mmts.towers.tower import Shape, Tower


class Kind(Transformer):
    """DistilBERT of transformers."""

    name: Literal["distilbert"]
    weights: Text
    """`random`, or a folder or hub id of such a model of transformers."""
    tokenizer: Text | None = None
    """A folder with a tokenizer.json, or a hub id. Null: that beside the weights; with random
    weights one learned from the training captions."""
    pooling: Literal["cls", "mean"]
    """The features of the first token, [CLS], or the mean over all tokens."""

    @model_validator(mode="after")
    def _pooled(self) -> Self:
        if self.shape is not None and self.shape.dim is not None:
            raise ValueError(
                "shape.dim is set; the features of distilbert are shape.width: leave it out"
            )
        if self.weights == "random" and self.tokenizer is None and self.pooling == "cls":
            raise ValueError(
                "pooling is cls but a learned tokenizer has no [CLS]; set it to mean, or name a "
                "tokenizer"
            )
        return self

    def build(self, vocabulary: int, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.distilbert import DistilBert
        from mmts.towers.tokens import check_vocabulary

        more: Shape = {"gradient_checkpointing": self.gradient_checkpointing}
        if shape is not None:
            return DistilBert.empty(shape, self.pooling, **more)
        if self.weights == "random":
            sizes = None if self.shape is None else self.shape.sizes
            return DistilBert.random(vocabulary, sizes, self.pooling, **more)
        tower = DistilBert.load(self.weights, self.pooling, **more)
        check_vocabulary(self, vocabulary, tower.model.config.vocab_size)
        return tower

    def make_tokenizer(self, captions: Callable[[], Iterable[str]]) -> Tokenizer:
        """Return the one that is named or beside the weights, or learn one from the captions."""
        from mmts.towers.distilbert import CONTEXT, given_sizes
        from mmts.towers.tokens import PAD, bert_tokenizer, pad_with, train_tokenizer

        pad, context = PAD, CONTEXT if self.shape is None else self.shape.context
        given = self.tokenizer
        if self.weights != "random":
            pad, context = given_sizes(self.weights)
            given = given or self.weights
        if given is None:
            found = train_tokenizer(captions())
        else:
            found = bert_tokenizer(given, pad, self.pooling == "cls")
        pad_with(found, pad)
        return self.cut(found, context)
