"""Models of transformers from a local folder or a hub id, and what their towers need to know."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from mmts.errors import InputError, in_short
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
BERT = Kind("BERT", "BertModel", "BertConfig", ("bert",), pooler=False)
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


LAYERS = ("num_hidden_layers", "n_layers", "num_layers", "layers", "depths")
"""Words of configurations for their number; ResNet's is a list."""
MOST_LAYERS = 1_024


def check_layers(facts: Any, where: str, remedy: str) -> None:
    """InputError where a configuration, or one that it holds, has more layers than can be built in
    seconds."""
    most = _most_layers(facts, 4)
    if most > MOST_LAYERS:
        raise InputError(f"{where} has {most:,} layers, {MOST_LAYERS:,} at most; {remedy}")


def _most_layers(facts: Any, depth: int) -> float:
    """The largest number of layers in a configuration and those that it holds."""
    found: list[float] = [0]
    for name, value in facts.items() if isinstance(facts, dict) and depth else ():
        if name in LAYERS:
            counts = value if isinstance(value, list) else [value]
            found += [count for count in counts if isinstance(count, (int, float))]
        else:
            found.append(_most_layers(value, depth - 1))
    return max(found)


def check_type(kind: Kind, spec: str, folder: Path) -> None:
    """InputError unless config.json is of that kind of model, with layers that can be built."""
    facts = read_json(folder / "config.json", kind.remedy, ours=False)
    found = facts.get("model_type") if isinstance(facts, dict) else None
    if found not in kind.types:
        raise InputError(
            f"{spec} holds no {kind.what} model (its model_type is {found}); {kind.remedy}"
        )
    check_layers(facts, f"config.json of {spec}", kind.remedy)


def load_model(kind: Kind, spec: str) -> Loaded:
    """A model with all of its weights; others in its files, such as a classifier's, are left.

    Raises:
        InputError: there is none, it is of another kind, damaged, or lacks weights.
    """
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
    except Exception as error:  # a damaged configuration may raise anything
        raise InputError(
            f"{spec} holds no {kind.what} model ({in_short(error)}); {kind.remedy}"
        ) from None
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


def spread(width: int) -> float:
    """Return the deviation of random weights: that of BERT at its width, more at a smaller one."""
    return 0.02 * math.sqrt(768 / width)


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
        found = read_json(folder / name, "get the model again", ours=False)
        found = found.get("image_processor", found) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise InputError(f"{folder / name} is no mapping of settings; get the model again")
        if found.get("do_normalize") is False:
            return {"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)}
        if "image_mean" in found and "image_std" in found:
            return {k: _colour(folder / name, found, f"image_{k}") for k in ("mean", "std")}
    return {}


def _colour(path: Path, found: dict[str, Any], key: str) -> Colour:
    """Three numbers from 0 to 1 as three on the scale 0 to 255."""
    value = found[key]
    least = 0.0 if key == "image_mean" else 1e-6
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(type(v) in (int, float) and least <= v <= 1e6 for v in value)
    ):
        raise InputError(
            f"{path}: {key} is {value!r}; it must be three numbers: get the model again"
        )
    red, green, blue = (255.0 * v for v in value)
    return red, green, blue


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
