"""What every encoder is: a module that knows how long its features are."""

from __future__ import annotations

from collections.abc import Mapping
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


def loaded(parts: Mapping[str, tuple[Tower | None, str]]) -> dict[str, dict[str, str]]:
    """Return what `Model.loaded` says of towers, each with the settings' `weights`."""
    return {
        name: {"weights": weights, "fingerprint": tower.loaded}
        | ({"revision": tower.revision} if tower.revision else {})
        for name, (tower, weights) in parts.items()
        if tower is not None and tower.loaded is not None
    }


def shapes_of(parts: Mapping[str, nn.Module]) -> dict[str, Shape]:
    """Return what `Model.shapes` says of parts, some of which may be no towers."""
    found = {name: part.shape if isinstance(part, Tower) else {} for name, part in parts.items()}
    return {name: shape for name, shape in found.items() if shape}
