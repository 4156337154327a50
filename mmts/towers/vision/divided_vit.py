"""Divided attention, as in TimeSformer and LaViLa."""

from __future__ import annotations

from mmts.settings.towers import VisionTower
from mmts.towers.converted import video_transformer
from mmts.towers.tower import Shape, Tower


def build(settings: VisionTower, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.vision_tower`."""
    return video_transformer(settings, shape)
