"""What params.yaml can name: a folder a registry (`mmts.registry`), a file a kind.

A file imports what is heavy, such as torch, where it builds the thing, so that `plan` is quick.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mmts.registry import Registry
from mmts.settings.base import Settings

Above0 = Annotated[float, Field(gt=0)]
From0 = Annotated[float, Field(ge=0)]
Above0To1 = Annotated[float, Field(gt=0, le=1)]


class _Tower(Settings):
    """Until towers are kinds."""


VISION_TOWERS = Registry("vision tower", "mmts.towers.vision", _Tower)
TEXT_TOWERS = Registry("text tower", "mmts.towers.text", _Tower)
