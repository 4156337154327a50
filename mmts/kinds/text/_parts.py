"""Settings that several text towers have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from mmts.errors import InputError
from mmts.kinds.text import TextKind
from mmts.settings.base import Text
from mmts.settings.shapes import TextShape

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Published(TextKind):
    """A tower with a published tokenizer."""

    tokenizer: Text | None = None
    """A folder with a tokenizer.json, or a hub id. Null, with random weights: one learned from the
    training captions."""
    max_tokens: Annotated[int, Field(ge=4, le=65536)] | None = None
    """Captions are cut to so many tokens; null for all that it can take."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""

    @property
    def models(self) -> tuple[str, ...]:
        """Weights and tokenizer."""
        return (*super().models, *(() if self.tokenizer is None else (self.tokenizer,)))

    def cut(self, tokenizer: Tokenizer, context: int) -> Tokenizer:
        """Return the tokenizer, set to cut captions.

        Args:
            tokenizer: of the tower.
            context: how many tokens the tower takes.

        Raises:
            InputError: max_tokens is more than that.
        """
        from mmts.towers.tokens import cut_to

        if self.max_tokens is not None and self.max_tokens > context:
            raise InputError(
                f"towers.text.max_tokens is {self.max_tokens} but {self.name} takes {context} at "
                "most; lower it"
            )
        cut_to(tokenizer, self.max_tokens or context)
        return tokenizer


class Transformer(Published):
    """A text transformer, which random weights may have a shape for."""

    shape: TextShape | None = None
    """With random weights; null for that of the published model."""

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        if self.shape is None:
            return self
        if self.weights != "random":
            raise ValueError("shape is set; it belongs to `weights: random`: leave it out")
        if self.max_tokens and self.max_tokens > self.shape.context:
            raise ValueError(
                f"max_tokens {self.max_tokens} is above shape.context {self.shape.context}; lower "
                "it"
            )
        return self
