"""What every encoder is: a module that knows how long its features are."""

from __future__ import annotations

from torch import nn


class Tower(nn.Module):
    """An encoder in front of a projection head; `dim` is the length of its features."""

    dim: int
