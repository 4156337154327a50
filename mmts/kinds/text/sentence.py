"""A frozen sentence encoder."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from mmts.kinds.text import TextKind
from mmts.settings.base import Text


class Kind(TextKind):
    """A frozen sentence encoder of sentence-transformers."""

    name: Literal["sentence"]
    tokens = False
    weights: Text
    """As embed.model: `package:<import name>`, a local folder, or a hub id."""

    @model_validator(mode="after")
    def _frozen(self) -> Self:
        if not self.frozen:
            raise ValueError(
                "frozen is false; a sentence tower cannot be trained here: set it to true"
            )
        return self
