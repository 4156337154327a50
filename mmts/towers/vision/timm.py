"""A model of timm."""

from __future__ import annotations

from mmts.settings.towers import VisionTower
from mmts.towers.extras import timm_tower
from mmts.towers.tower import Shape, Tower


def build(settings: VisionTower, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.vision_tower`."""
    return timm_tower(settings, shape)
