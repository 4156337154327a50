"""A tower and a projection head for each side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mmts.kinds.model import ModelKind, Parts

if TYPE_CHECKING:
    from mmts.towers.model import Model


class Kind(ModelKind):
    """`mmts.towers.two_tower`: a tower and a head for each side."""

    kind: Literal["two_tower"]

    def build(self, parts: Parts) -> Model:
        """Return the model."""
        from mmts.towers.two_tower import TwoTower

        return TwoTower(parts.towers, parts.head, dict(parts.dims), parts.shapes, parts.streams)
