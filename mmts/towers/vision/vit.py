"""A vision transformer of transformers."""

from __future__ import annotations

from mmts.settings.towers import VideoShape, VisionTower
from mmts.towers.pictures import ViT
from mmts.towers.tower import Shape, Tower


def build(settings: VisionTower, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.vision_tower`."""
    more: Shape = {"gradient_checkpointing": settings.gradient_checkpointing}
    if shape is not None:
        return ViT.empty(shape, **more)
    if settings.weights == "random":
        sizes = (settings.shape or VideoShape()).sizes
        return ViT.random(settings.image_size, sizes, **more)
    tower = ViT.load(settings.weights, **more)
    tower.fit(settings.image_size)
    return tower
