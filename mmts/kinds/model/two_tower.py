"""A tower and a projection head for each side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from mmts.kinds.model import ModelKind, Parts

if TYPE_CHECKING:
    from mmts.kinds.stream import StreamKind
    from mmts.settings.towers import Towers
    from mmts.towers.model import Model


class Kind(ModelKind):
    """`mmts.towers.two_tower`: a tower and a head for each side."""

    kind: Literal["two_tower"]

    def check(self, towers: Towers, streams: Mapping[str, StreamKind]) -> None:
        """Raise ValueError if it has no encoder of a stream."""
        for name, stream in streams.items():
            if not stream.two_tower:
                raise ValueError(
                    f"streams names {name}, of kind {stream.kind}, which model two_tower cannot "
                    "read; set model to omni, or leave it out"
                )

    def build(self, parts: Parts) -> Model:
        """Return the model."""
        from mmts.towers.two_tower import TwoTower

        return TwoTower(parts.towers, parts.head, dict(parts.dims), parts.shapes, parts.streams)
