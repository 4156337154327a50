"""What every encoder is: a module that knows how long its features are."""

from __future__ import annotations

from typing import Any

from torch import nn

Shape = dict[str, Any]
"""What it takes, beside the settings, to build a tower without its weights; as JSON."""


class Tower(nn.Module):
    """An encoder in front of a projection head.

    Attributes:
        dim: length of its features.
        loaded: fingerprint of the weights that it starts from, None for random ones.
        revision: the hub's commit of those weights, where it is known.
    """

    dim: int
    loaded: str | None = None
    revision: str | None = None

    @property
    def shape(self) -> Shape:
        """What it takes, beside the settings, to build it again without its weights."""
        return {}
