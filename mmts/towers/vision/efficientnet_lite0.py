"""EfficientNet-Lite0."""

from __future__ import annotations

from mmts.settings.towers import VisionTower
from mmts.towers.efficientnet_lite import EfficientNetLite0
from mmts.towers.tower import Shape, Tower
from mmts.weights import fingerprint, load_state, unwrapped, weight_file


def build(settings: VisionTower, shape: Shape | None) -> Tower:
    """Return the tower, see `mmts.towers.build.vision_tower`."""
    tower = EfficientNetLite0()
    if settings.weights != "random" and shape is None:
        path = weight_file(settings.weights)
        state = unwrapped(load_state(path), path)
        tower.loaded = fingerprint(state)
        tower.load_released(state, settings.weights)
    return tower
