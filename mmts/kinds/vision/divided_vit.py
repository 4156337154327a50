"""Divided attention, as in TimeSformer and LaViLa."""

from __future__ import annotations

from typing import Literal

from mmts.kinds.vision._parts import Attending


class Kind(Attending):
    """Divided attention, as in TimeSformer and LaViLa."""

    name: Literal["divided_vit"]
    attention = "divided"
