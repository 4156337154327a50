"""Models of transformers from a local folder or a hub id, and what their towers need to know."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.files import read_json
from mmts.towers.tower import Tower
from mmts.towers.video_vit import Colour
from mmts.weights import fingerprint, revision, transformers_folder

IMAGENET_MEAN: Colour = (123.675, 116.28, 103.53)
IMAGENET_STD: Colour = (58.395, 57.12, 57.375)
# where image_mean and image_std stand: at the top, or under `image_processor`
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


class Kind(NamedTuple):
    """A kind of model that transformers has.

    what: as an error names it. model, config: classes of transformers. types: `model_type` of
    those that hold such a model. pooler: False leaves out one that nobody trained.
    """

    what: str
    model: str
    config: str
    types: tuple[str, ...]
    pooler: bool = True

    @property
    def more(self) -> dict[str, Any]:
        """Arguments of the class."""
        return {} if self.pooler else {"add_pooling_layer": False}

    @property
    def remedy(self) -> str:
        """What to do where there is none."""
        return (
            f"give a {self.what.removesuffix(' vision').removesuffix(' text')} model's local "
            "folder, with config.json and model.safetensors"
        )


RESNET = Kind("ResNet", "ResNetModel", "ResNetConfig", ("resnet",))
VIT = Kind("ViT", "ViTModel", "ViTConfig", ("vit",), pooler=False)
DISTILBERT = Kind("DistilBERT", "DistilBertModel", "DistilBertConfig", ("distilbert",))
CLIP_VISION = Kind(
    "CLIP vision",
    "CLIPVisionModelWithProjection",
    "CLIPVisionConfig",
    ("clip", "clip_vision_model"),
)
CLIP_TEXT = Kind(
    "CLIP text", "CLIPTextModelWithProjection", "CLIPTextConfig", ("clip", "clip_text_model")
)


class Loaded(NamedTuple):
    """A model in float32, its folder, and what identifies its weights."""

    model: Any
    folder: Path
    fingerprint: str
    revision: str | None

    def mark(self, tower: Tower) -> None:
        """Note in a tower what it starts from."""
        tower.loaded, tower.revision = self.fingerprint, self.revision


def _named(name: str) -> Any:
    return getattr(importlib.import_module("transformers"), name)


def check_type(kind: Kind, spec: str, folder: Path) -> None:
    """InputError unless config.json is of that kind of model."""
    facts = read_json(folder / "config.json", kind.remedy)
    found = facts.get("model_type") if isinstance(facts, dict) else None
    if found not in kind.types:
        raise InputError(
            f"{spec} holds no {kind.what} model (its model_type is {found}); {kind.remedy}"
        )


def load_model(kind: Kind, spec: str) -> Loaded:
    """A model with all of its weights; others in its files, such as a classifier's, are left.

    Raises:
        InputError: there is none, it is of another kind, damaged, or lacks weights.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    folder = transformers_folder(spec, kind.remedy)
    check_type(kind, spec, folder)
    logging.disable_progress_bar()
    loud = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, facts = _named(kind.model).from_pretrained(
            folder, output_loading_info=True, local_files_only=True, **kind.more
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        problem = " ".join(str(error).split())[:160]
        raise InputError(f"{spec} holds no {kind.what} model ({problem}); {kind.remedy}") from None
    finally:
        logging.set_verbosity(loud)
    missing = sorted(facts["missing_keys"])
    if missing:
        raise InputError(
            f"{spec} lacks {len(missing)} of a {kind.what} model's weights ({missing[0]}, …); "
            f"{kind.remedy}"
        )
    model = model.float()
    return Loaded(model, folder, fingerprint(model.state_dict()), revision(folder))


def random_model(kind: Kind, **config: Any) -> Any:
    """A model with random weights."""
    return _named(kind.model)(_named(kind.config)(**config), **kind.more)


def empty_model(kind: Kind, config: dict[str, Any]) -> Any:
    """A model with random weights from what `config_of` gives of another one."""
    return _named(kind.model)(_named(kind.config).from_dict(config), **kind.more)


def config_of(model: Any) -> dict[str, Any]:
    """A model's configuration as JSON, its defaults too."""
    found: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    return found


def recompute(model: Any) -> None:
    """Gradient checkpointing (Chen et al. 2016) of a model that transformers can do it for."""
    # transformers renames it: the old name goes with version 6
    newer = getattr(model, "activation_checkpointing_enable", None)
    (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})


def colours(folder: Path) -> dict[str, Colour]:
    """`mean` and `std` of a model's image processor on the scale 0 to 255; {} without one."""
    for name in PROCESSORS:
        if not (folder / name).is_file():
            continue
        found = read_json(folder / name, "get the model again")
        found = found.get("image_processor", found)
        if found.get("do_normalize") is False:
            return {"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)}
        if "image_mean" in found and "image_std" in found:
            mean, std = (tuple(255 * v for v in found[f"image_{k}"]) for k in ("mean", "std"))
            return {"mean": mean, "std": std}
    return {}


class Pixels(Tower):
    """A tower that normalises its pixels itself.

    uint8 pixels are normalised here; floats are taken as normalised already.
    """

    def __init__(self, mean: Colour = IMAGENET_MEAN, std: Colour = IMAGENET_STD) -> None:
        """
        Args:
            mean, std: per channel, on the scale 0 to 255.
        """
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """[..., 3, H, W], uint8 -> floats of mean 0 and deviation 1."""
        if pixels.is_floating_point():
            return pixels
        return (pixels.to(self.mean.dtype) - self.mean) / self.std

    @property
    def colours(self) -> dict[str, Any]:
        """Mean and std as JSON."""
        return {name: getattr(self, name).flatten().tolist() for name in ("mean", "std")}


class PictureTower(Pixels):
    """A vision model of transformers."""

    kind: ClassVar[Kind]

    def __init__(
        self, model: Any, *, mean: Colour = IMAGENET_MEAN, std: Colour = IMAGENET_STD
    ) -> None:
        """
        Args:
            model: a model of transformers.
            mean, std: as in `Pixels`.
        """
        super().__init__(mean, std)
        self.model = model

    @classmethod
    def load(cls, spec: str, **settings: Any) -> Self:
        """From a local folder or a hub id; `settings` are those of `__init__`.

        Pixels are normalised as the model's image processor says, by the class's own numbers
        without one.

        Raises:
            InputError: as `load_model`.
        """
        found = load_model(cls.kind, spec)
        tower = cls(found.model, **{**colours(found.folder), **settings})
        found.mark(tower)
        return tower

    @classmethod
    def empty(cls, shape: dict[str, Any], **settings: Any) -> Self:
        """A tower with random weights from what `shape` gives of another one."""
        model = empty_model(cls.kind, shape["config"])
        return cls(model, mean=tuple(shape["mean"]), std=tuple(shape["std"]), **settings)

    @property
    def shape(self) -> dict[str, Any]:
        """All that `empty` needs beside the settings, as JSON."""
        return {"config": config_of(self.model), **self.colours}
