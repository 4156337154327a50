"""BERT of transformers, as in VAST."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from mmts.errors import InputError
from mmts.kinds.text._parts import Published
from mmts.settings.base import Text
from mmts.settings.shapes import Bert, BertShape

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mmts.towers.tower import Shape, Tower


class Kind(Published):
    """BERT of transformers (`mmts.towers.bert`); its features are those of [CLS]."""

    name: Literal["bert"]
    crosses = True
    weights: Text
    """`random`, a folder or hub id of such a model of transformers, or a folder that
    mmts.towers.convert wrote of VAST's file."""
    tokenizer: Text | None = None
    """A folder with a tokenizer.json, or a hub id such as bert-base-uncased. Null: that beside the
    weights; with random weights one learned from the training captions."""
    shape: Bert = None
    """With random weights: `tiny`, or a mapping of sizes; null for that of bert-base-uncased."""

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        if self.shape is not None and self.weights != "random":
            raise ValueError("shape is set; it belongs to `weights: random`: leave it out")
        return self

    def build(self, vocabulary: int, shape: Shape | None = None, cross: bool = False) -> Tower:
        """Return the tower.

        Args:
            vocabulary, shape: see `TextKind.build`.
            cross: whether it is to attend to media items too.
        """
        from mmts.towers.bert import Bert
        from mmts.towers.tokens import PAD, check_vocabulary

        more: Shape = {"gradient_checkpointing": self.gradient_checkpointing}
        if shape is not None:
            return Bert.empty(shape, **more)
        if self.weights == "random":
            return Bert.random(vocabulary, self.shape or BertShape(), cross, **more)
        tower = Bert.load(self.weights, cross, **more)
        check_vocabulary(self, vocabulary, tower.model.config.vocab_size)
        if tower.pad != PAD:
            raise InputError(
                f"{self.weights} pads with the id {tower.pad}, not {PAD}; name a BERT whose [PAD] "
                "is that"
            )
        if (self.max_tokens or tower.longest) > tower.longest:
            raise InputError(
                f"towers.text.max_tokens is {self.max_tokens} but {self.weights} takes "
                f"{tower.longest} tokens; lower it"
            )
        return tower

    def make_tokenizer(self, captions: Callable[[], Iterable[str]]) -> Tokenizer:
        """Return the one that is named or beside the weights, or learn one from the captions."""
        from mmts.towers.tokens import PAD, bert_tokenizer, pad_with, train_tokenizer

        given = self.tokenizer or (None if self.weights == "random" else self.weights)
        if given is None:
            found = train_tokenizer(captions(), framed=True)
        else:
            found = bert_tokenizer(given, PAD, cls=True)
        pad_with(found, PAD)
        return self.cut(found, (self.shape or BertShape()).context)
