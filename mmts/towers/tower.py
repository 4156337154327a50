"""What every encoder is: a module that knows how long its features are."""

from __future__ import annotations

from torch import nn


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
