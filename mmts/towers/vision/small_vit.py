"""A small tower of ours."""

from __future__ import annotations

from mmts.settings.towers import VisionTower
from mmts.towers.small import SmallViT, load
from mmts.towers.tower import Shape, Tower


def build(settings: VisionTower, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.vision_tower`."""
    tower = SmallViT(settings.image_size)
    if settings.weights != "random" and shape is None:
        load(tower, settings)
    return tower
