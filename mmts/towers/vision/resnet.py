"""A ResNet of transformers."""

from __future__ import annotations

from mmts.settings.towers import VisionTower
from mmts.towers.pictures import ResNet
from mmts.towers.tower import Shape, Tower


def build(settings: VisionTower, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.vision_tower`."""
    more: Shape = {"gradient_checkpointing": settings.gradient_checkpointing}
    if shape is not None:
        return ResNet.empty(shape, **more)
    if settings.weights == "random":
        return ResNet.random(settings.depth or 50, **more)
    return ResNet.load(settings.weights, **more)
