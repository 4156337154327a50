"""CLIP's vision tower on each frame."""

from __future__ import annotations

from mmts.settings.towers import VisionTower
from mmts.towers.clip_frames import clip
from mmts.towers.tower import Shape, Tower


def build(settings: VisionTower, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.vision_tower`."""
    return clip(settings, shape)
