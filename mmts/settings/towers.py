"""The two encoders of a model; each kind is a file of `mmts.kinds.vision` or `mmts.kinds.text`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mmts.kinds.text import TextTower
from mmts.kinds.vision import VisionTower
from mmts.settings.base import Settings, Text


class Towers(Settings):
    """The two encoders of the model."""

    vision: VisionTower
    text: TextTower
    frozen_parts: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Parameters of the model that stay as they are, by glob: `text.*`, `vision.blocks.0.*`."""

    @property
    def given(self) -> bool:
        """Whether building the model can fail: weights to find, parts to name, clips to take."""
        found = (t.weights != "random" and not t.frozen for t in (self.vision, self.text))
        return self.vision.video or bool(self.frozen_parts) or any(found)

    @model_validator(mode="after")
    def _random(self) -> Towers:
        if self.vision.frozen and self.vision.weights == "random":
            raise ValueError(
                "vision.weights is random and vision.frozen is true; train it or load it"
            )
        if self.text.frozen and self.text.weights == "random":
            raise ValueError("text.weights is random and text.frozen is true; train it or load it")
        return self
