"""Settings -> towers with their weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from mmts.errors import InputError
from mmts.settings import TextTower, VisionTower
from mmts.settings.towers import TextShape, VideoShape
from mmts.towers.clip_frames import ClipFrames
from mmts.towers.clip_text import ClipText, ClipTextConfig
from mmts.towers.convert import FACTS, WEIGHTS
from mmts.towers.converted import load_text, load_vision, read_facts, video_config
from mmts.towers.divided import DividedViT
from mmts.towers.efficientnet_lite import EfficientNetLite0
from mmts.towers.small import SmallCNN, SmallTextTransformer, SmallViT
from mmts.towers.tower import Tower
from mmts.towers.video_vit import VideoViT, VideoViTConfig
from mmts.weights import fingerprint, load_state, model_files, weight_file

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
    if settings.name == "clip_frames":
        return _clip_frames(settings, shape)
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
    state = load_state(weight_file(settings.weights))
    tower.loaded = fingerprint(state)
    if isinstance(tower, EfficientNetLite0):
        tower.load_released(state, settings.weights)
        return
    try:
        tower.load_state_dict(state)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:160]
        raise InputError(
            f"{settings.weights} holds no {settings.name} weights ({problem})"
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
        size = settings.shape or VideoShape()
        return kind(VideoViTConfig(**size.model_dump(), **own))
    folder = converted_folder(settings.weights)
    attention = read_facts(folder)["attention"]
    if attention != ATTENTION[settings.name]:
        right = next(name for name, value in ATTENTION.items() if value == attention)
        raise InputError(
            f"towers.vision.name is {settings.name} but {settings.weights} has {attention} "
            f"attention; set it to {right}"
        )
    return load_vision(folder, **own)


def _clip_frames(settings: VisionTower, shape: Shape | None) -> Tower:
    more = {"gradient_checkpointing": settings.gradient_checkpointing}
    if shape is not None:
        return ClipFrames.empty(shape, **more)
    tower = ClipFrames.load(settings.weights, **more)
    if tower.image_size != settings.image_size:
        raise InputError(
            f"towers.vision.image_size is {settings.image_size} but the frames of "
            f"{settings.weights} have {tower.image_size} pixels a side; set it to that"
        )
    return tower


def text_tower(settings: TextTower, vocabulary: int, shape: Shape | None = None) -> Tower:
    """The text encoder that is trained.

    Args:
        settings: `towers.text`.
        vocabulary: number of ids of the tokenizer.
        shape: as in `vision_tower`.

    Raises:
        InputError: there are no such weights, or fewer ids in them than in the vocabulary.
    """
    if settings.name != "clip_text":
        return SmallTextTransformer(vocabulary)
    if shape is not None:
        return ClipText(ClipTextConfig(**shape))
    config = clip_text_config(settings, vocabulary)
    if settings.weights == "random":
        return ClipText(config)
    recompute = settings.gradient_checkpointing
    return load_text(converted_folder(settings.weights), gradient_checkpointing=recompute)


def clip_text_config(settings: TextTower, vocabulary: int) -> ClipTextConfig:
    """The size of CLIP's text tower; random weights have the vocabulary of the tokenizer.

    Raises:
        InputError: there are no such weights, or they have fewer ids than the tokenizer.
    """
    own = {"gradient_checkpointing": settings.gradient_checkpointing}
    if settings.weights == "random":
        size = (settings.shape or TextShape()).model_dump()
        return ClipTextConfig(**size, vocabulary=vocabulary, **own)
    facts = read_facts(converted_folder(settings.weights))["text"]
    try:
        config = ClipTextConfig(**{**facts, **own})
    except TypeError as error:
        raise InputError(f"{settings.weights}: {FACTS} has an odd text tower ({error})") from None
    if vocabulary > config.vocabulary:
        raise InputError(
            f"towers.text.tokenizer {settings.tokenizer} has {vocabulary} ids but the text tower "
            f"of {settings.weights} has {config.vocabulary}; name the one that it was trained with"
        )
    return config


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
    return tower.shape if isinstance(tower, ClipFrames) else {}
