"""A vision tower of open_clip."""

from __future__ import annotations

from mmts.settings.towers import VisionTower
from mmts.towers.extras import open_clip_vision
from mmts.towers.tower import Shape, Tower


def build(settings: VisionTower, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.vision_tower`."""
    return open_clip_vision(settings, shape)
