"""A small transformer of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from mmts.kinds.text import TextKind

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mmts.towers.tower import Shape, Tower


class Kind(TextKind):
    """A small transformer of ours, trained from scratch (`mmts.towers.small`)."""

    name: Literal["small_transformer"]

    @model_validator(mode="after")
    def _new(self) -> Self:
        if self.frozen or self.weights != "random":
            raise ValueError(
                "a small_transformer starts from `weights: random` and `frozen: false`"
            )
        return self

    def build(self, vocabulary: int, shape: Shape | None = None) -> Tower:
        """Return the tower."""
        from mmts.towers.small import SmallTextTransformer

        return SmallTextTransformer(vocabulary)

    def make_tokenizer(self, captions: Callable[[], Iterable[str]]) -> Tokenizer:
        """Return one that is learned from the captions, and cuts them itself."""
        from mmts.towers.tokens import train_tokenizer

        return train_tokenizer(captions())
