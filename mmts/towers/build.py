"""Settings -> towers with their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from mmts.errors import InputError, in_short
from mmts.settings.towers import TextShape, TextTower, VideoShape, VisionTower
from mmts.towers.clip_frames import ClipFrames
from mmts.towers.clip_text import ClipText, ClipTextConfig
from mmts.towers.clip_text_hub import load_text_model, read_config
from mmts.towers.convert import FACTS, WEIGHTS
from mmts.towers.converted import load_text, load_vision, read_facts, video_config
from mmts.towers.distilbert import DistilBert
from mmts.towers.divided import DividedViT
from mmts.towers.efficientnet_lite import EfficientNetLite0
from mmts.towers.extras import OutsideVision, open_clip_text, open_clip_vision, timm_tower
from mmts.towers.pictures import ResNet, ViT
from mmts.towers.pretrained import PictureTower
from mmts.towers.small import SmallCNN, SmallTextTransformer, SmallViT
from mmts.towers.tower import Tower
from mmts.towers.video_vit import VideoViT, VideoViTConfig
from mmts.weights import (
    fingerprint,
    first_file,
    load_state,
    model_files,
    revision,
    unwrapped,
    weight_file,
)

ATTENTION = {"video_vit": "joint", "divided_vit": "divided"}
Shape = dict[str, Any]


def vision_tower(settings: VisionTower, shape: Shape | None = None) -> Tower:
    """The vision encoder: weights from where the settings say, random only where they say so.

    Args:
        settings: `towers.vision`.
        shape: what `shape_of` gave of a trained tower of these settings; all weights are random
            then, and nothing is read.

    Raises:
        InputError: there are no such weights, or they belong to another model.
    """
    if settings.name in ATTENTION:
        return _video_transformer(settings, shape)
    if settings.name in OF_TRANSFORMERS:
        more = {"gradient_checkpointing": settings.gradient_checkpointing}
        return OF_TRANSFORMERS[settings.name](settings, shape, more)
    if settings.name == "timm":
        return timm_tower(settings, shape)
    if settings.name == "open_clip":
        return open_clip_vision(settings, shape)
    tower: Tower
    if settings.name == "efficientnet_lite0":
        tower = EfficientNetLite0()
    else:
        tower = SmallCNN() if settings.name == "small_cnn" else SmallViT(settings.image_size)
    if settings.weights != "random" and shape is None:
        _load(tower, settings)
    return tower


def _load(tower: Tower, settings: VisionTower) -> None:
    """Weights of a picture tower."""
    path = weight_file(settings.weights)
    state = unwrapped(load_state(path), path)
    tower.loaded = fingerprint(state)
    if isinstance(tower, EfficientNetLite0):
        tower.load_released(state, settings.weights)
        return
    try:
        tower.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"{settings.weights} holds no {settings.name} weights ({in_short(error)})"
        ) from None


def _video_transformer(settings: VisionTower, shape: Shape | None) -> Tower:
    """Joint or divided attention."""
    own: Shape = {
        "image_size": settings.image_size,
        "frames": settings.clip_length,
        "drop_path": settings.drop_path,
        "patch_dropout": settings.patch_dropout,
        "gradient_checkpointing": settings.gradient_checkpointing,
    }
    kind = DividedViT if settings.name == "divided_vit" else VideoViT
    if shape is not None:
        return kind(video_config(shape))
    if settings.weights == "random":
        return kind(VideoViTConfig(**(settings.shape or VideoShape()).sizes, **own))
    folder = converted_folder(settings.weights)
    attention = read_facts(folder)["attention"]
    if attention != ATTENTION[settings.name]:
        right = next(name for name, value in ATTENTION.items() if value == attention)
        raise InputError(
            f"towers.vision.name is {settings.name} but {settings.weights} has {attention} "
            f"attention; set it to {right}"
        )
    tower = load_vision(folder, **own)
    tower.revision = revision(folder)
    return tower


def _resnet(settings: VisionTower, shape: Shape | None, more: Shape) -> Tower:
    if shape is not None:
        return ResNet.empty(shape, **more)
    if settings.weights == "random":
        return ResNet.random(settings.depth or 50, **more)
    return ResNet.load(settings.weights, **more)


def _vit(settings: VisionTower, shape: Shape | None, more: Shape) -> Tower:
    if shape is not None:
        return ViT.empty(shape, **more)
    if settings.weights == "random":
        sizes = (settings.shape or VideoShape()).sizes
        return ViT.random(settings.image_size, sizes, **more)
    tower = ViT.load(settings.weights, **more)
    tower.fit(settings.image_size)
    return tower


def _clip(settings: VisionTower, shape: Shape | None, more: Shape) -> Tower:
    """CLIP on a picture or on frames."""
    if shape is not None:
        return ClipFrames.empty(shape, **more)
    if settings.weights == "random":
        sizes = (settings.shape or VideoShape()).sizes
        return ClipFrames.random(settings.image_size, sizes, **more)
    tower = ClipFrames.load(settings.weights, **more)
    if tower.image_size != settings.image_size:
        raise InputError(
            f"towers.vision.image_size is {settings.image_size} but the "
            f"{'frames' if settings.video else 'pictures'} of {settings.weights} have "
            f"{tower.image_size} pixels a side; set it to that"
        )
    return tower


OF_TRANSFORMERS: dict[str, Callable[[VisionTower, Shape | None, Shape], Tower]] = {
    "resnet": _resnet,
    "vit": _vit,
    "clip_vision": _clip,
    "clip_frames": _clip,
}


def text_tower(settings: TextTower, vocabulary: int, shape: Shape | None = None) -> Tower:
    """The text encoder that reads tokens.

    Args:
        settings: `towers.text`.
        vocabulary: number of ids of the tokenizer.
        shape: as in `vision_tower`.

    Raises:
        InputError: there are no such weights, or fewer ids in them than in the vocabulary.
    """
    if settings.name == "clip_text":
        return _clip_text(settings, vocabulary, shape)
    if settings.name == "distilbert":
        return _distilbert(settings, vocabulary, shape)
    if settings.name == "open_clip":
        return open_clip_text(settings, shape)
    return SmallTextTransformer(vocabulary)


def _clip_text(settings: TextTower, vocabulary: int, shape: Shape | None) -> Tower:
    if shape is not None:
        return ClipText(ClipTextConfig(**shape))
    config = clip_text_config(settings, vocabulary)
    if settings.weights == "random":
        return ClipText(config)
    recompute = settings.gradient_checkpointing
    found = _clip_text_file(settings.weights)
    if found.name != FACTS:
        return load_text_model(settings.weights, gradient_checkpointing=recompute)
    folder = converted_folder(settings.weights)
    tower = load_text(folder, gradient_checkpointing=recompute)
    tower.revision = revision(folder)
    return tower


def _distilbert(settings: TextTower, vocabulary: int, shape: Shape | None) -> Tower:
    assert settings.pooling is not None
    more: Shape = {"gradient_checkpointing": settings.gradient_checkpointing}
    if shape is not None:
        return DistilBert.empty(shape, settings.pooling, **more)
    if settings.weights == "random":
        sizes = None if settings.shape is None else settings.shape.sizes
        return DistilBert.random(vocabulary, sizes, settings.pooling, **more)
    tower = DistilBert.load(settings.weights, settings.pooling, **more)
    check_vocabulary(settings, vocabulary, tower.model.config.vocab_size)
    return tower


def clip_text_config(settings: TextTower, vocabulary: int) -> ClipTextConfig:
    """The size of CLIP's text tower; random weights have the vocabulary of the tokenizer.

    Raises:
        InputError: there are no such weights, or they have fewer ids than the tokenizer.
    """
    own = {"gradient_checkpointing": settings.gradient_checkpointing}
    if settings.weights == "random":
        size = (settings.shape or TextShape()).sizes
        return ClipTextConfig(**size, vocabulary=vocabulary, **own)
    found = _clip_text_file(settings.weights)
    if found.name == FACTS:
        facts = read_facts(found.parent)["text"]
    else:
        facts = vars(read_config(settings.weights, found.parent))
    try:
        config = ClipTextConfig(**{**facts, **own})
    except TypeError as error:
        raise InputError(f"{settings.weights}: {FACTS} has an odd text tower ({error})") from None
    check_vocabulary(settings, vocabulary, config.vocabulary)
    return config


def check_vocabulary(settings: TextTower, given: int, own: int) -> None:
    """InputError where a tokenizer has more ids than a text tower."""
    if given > own:
        raise InputError(
            f"towers.text.tokenizer {settings.tokenizer or settings.weights} has {given} ids but "
            f"the text tower of {settings.weights} has {own}; name the one that it was trained with"
        )


def _clip_text_file(spec: str) -> Path:
    """The file that says what a text tower is: of a converted folder, or of transformers."""
    return first_file(
        spec,
        (FACTS, "config.json"),
        "give a CLIP model's folder or hub id, or the folder that `python -m mmts.towers.convert "
        "CHECKPOINT FOLDER` wrote",
    )


def converted_folder(spec: str) -> Path:
    """The folder that mmts.towers.convert wrote; a hub id's is downloaded.

    Raises:
        InputError: there is none, or the hub cannot be reached.
    """
    return model_files(
        spec,
        (FACTS, WEIGHTS),
        "give the folder that `python -m mmts.towers.convert CHECKPOINT FOLDER` wrote",
    )


def shape_of(tower: nn.Module) -> Shape:
    """What it takes, beside the settings, to build a tower again without its weights; as JSON."""
    if isinstance(tower, (VideoViT, ClipText)):
        return asdict(tower.config)
    return tower.shape if isinstance(tower, (PictureTower, OutsideVision, DistilBert)) else {}
