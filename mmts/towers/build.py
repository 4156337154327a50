"""Settings -> towers with their weights."""

from __future__ import annotations

from mmts.errors import InputError
from mmts.settings import VisionTower
from mmts.towers.efficientnet_lite import EfficientNetLite0
from mmts.towers.small import SmallCNN, SmallViT
from mmts.towers.tower import Tower
from mmts.weights import load_state, weight_file


def vision_tower(settings: VisionTower) -> Tower:
    """The vision encoder: weights from where the settings say, random only where they say so.

    Raises:
        InputError: there are no such weights, or they belong to another model.
    """
    if settings.name == "efficientnet_lite0":
        released = EfficientNetLite0()
        if settings.weights != "random":
            released.load_released(load_state(weight_file(settings.weights)), settings.weights)
        return released
    tower = SmallCNN() if settings.name == "small_cnn" else SmallViT(settings.image_size)
    if settings.weights != "random":
        _load(tower, settings)
    return tower


def _load(tower: Tower, settings: VisionTower) -> None:
    try:
        tower.load_state_dict(load_state(weight_file(settings.weights)))
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:160]
        raise InputError(
            f"{settings.weights} holds no {settings.name} weights ({problem})"
        ) from None
