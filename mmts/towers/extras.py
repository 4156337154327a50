"""Models of timm and of open_clip, where these packages can be imported (they need torchvision)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmts.errors import InputError, in_short
from mmts.towers.pretrained import IMAGENET_MEAN, IMAGENET_STD, Pixels
from mmts.towers.tower import Shape, Tower
from mmts.towers.video_vit import CLIP_MEAN, CLIP_STD
from mmts.weights import PACKAGE, fingerprint, load_state, unwrapped, weight_file

if TYPE_CHECKING:
    from mmts.kinds.text.open_clip import Kind as OpenClipWords
    from mmts.kinds.vision.open_clip import Kind as OpenClipVision
    from mmts.kinds.vision.timm import Kind as Timm

PRETRAINED = "pretrained"


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # torchvision raises the last one
        raise InputError(
            f"the package {name} cannot be imported ({in_short(error)}); run "
            f"`pip install '.[{name}]'` in the checkout, beside a torchvision of torch's version"
        ) from None


def _create(package: str, model: str, **settings: Any) -> Any:
    """`create_model` of a package; one line where it does not know the model or its weights."""
    try:
        return _import(package).create_model(model, **settings)
    except InputError:
        raise
    except Exception as error:  # each package raises what it pleases, without a network too
        raise InputError(
            f"{package} has no such model: {model}, {settings} ({in_short(error)})"
        ) from None


class OutsideVision(Pixels):
    """Pictures [N, 3, S, S] -> [N, dim], what the package's own vision model gives."""

    def __init__(self, model: Any, image_size: int, *, recompute: bool, **colours: Any) -> None:
        """
        Args:
            model: a module from [N, 3, S, S] to [N, dim].
            image_size: S.
            recompute: turn the model's own gradient checkpointing on. What it recomputes updates
                running statistics of batch norm twice.
            colours: mean and std per channel, on the scale 0 to 255.

        Raises:
            InputError: the model does not take such pictures, or keeps a map of features.
        """
        super().__init__(**colours)
        self.model = model
        if recompute:
            _recompute(model)
        training = model.training
        try:
            with torch.no_grad():
                found = model.eval()(torch.zeros(1, 3, image_size, image_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise InputError(
                f"towers.vision.image_size is {image_size}, which towers.vision.model does not "
                f"take ({in_short(error)}); change it"
            ) from None
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise InputError("towers.vision.model does not pool its features; name another one")
        model.train(training)
        self.dim = found.shape[1]

    @property
    def shape(self) -> Shape:
        """All that it takes, beside the settings, to build it again; as JSON."""
        return self.colours

    def forward(self, pixels: Tensor) -> Tensor:
        """Pooled features."""
        features: Tensor = self.model(self.normalise(pixels))
        return features


def _recompute(model: Any) -> None:
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError):
        raise InputError(
            "gradient_checkpointing is true but the model has none; set it to false"
        ) from None


def _colours(found: Any, default: tuple[Any, Any]) -> Shape:
    """Mean and deviation on the scale 0 to 255 from what a package has on the scale 0 to 1."""
    values = ((found or {}).get("mean"), (found or {}).get("std"))
    pairs = zip(("mean", "std"), values, default, strict=True)
    return {k: tuple(255 * v for v in given) if given else other for k, given, other in pairs}


def timm_tower(settings: Timm, shape: Shape | None = None) -> OutsideVision:
    """A model of timm without its classifier; arguments as of `VisionKind.build`.

    Raises:
        InputError: timm cannot be imported, or has no such model or weights.
    """
    name, weights = settings.model, "random" if shape is not None else settings.weights
    model = _create("timm", name, pretrained=weights == PRETRAINED, num_classes=0)
    facts = dict(getattr(model, "pretrained_cfg", None) or {})
    if weights == PRETRAINED and not any(facts.get(k) for k in ("url", "hf_hub_id", "file")):
        raise InputError(f"timm has no weights of {name}; name random or a file in weights")
    if weights not in (PRETRAINED, "random"):
        _fill(model, weights)
    colours = shape or _colours(facts, (IMAGENET_MEAN, IMAGENET_STD))
    tower = OutsideVision(
        model, settings.image_size, recompute=settings.gradient_checkpointing, **colours
    )
    if weights != "random":
        tower.loaded = fingerprint(model.state_dict())
    return tower


def _fill(model: nn.Module, spec: str) -> None:
    """Weights from a file; a classifier's in it are left."""
    if not spec.startswith(PACKAGE) and not Path(spec).is_file():
        raise InputError(
            f"towers.vision.weights is {spec}; for timm it must be {PRETRAINED}, random, "
            f"{PACKAGE}<name> or a file"
        )
    path, own = weight_file(spec), model.state_dict()
    state = unwrapped(load_state(path), path)
    try:
        model.load_state_dict({k: v for k, v in state.items() if k in own})
    except RuntimeError as error:
        raise InputError(
            f"{spec} holds other weights than the model's ({in_short(error)})"
        ) from None


def _open_clip(settings: OpenClipVision | OpenClipWords, known: bool, **more: Any) -> Any:
    """A whole model; `known`: without weights, since those of a trained one follow."""
    new = known or settings.weights == "random"
    return _create(
        "open_clip", settings.model, pretrained=None if new else settings.weights, **more
    )


def open_clip_vision(settings: OpenClipVision, shape: Shape | None = None) -> OutsideVision:
    """The vision side of a model of open_clip; arguments as of `VisionKind.build`.

    Raises:
        InputError: open_clip cannot be imported, or has no such model or weights.
    """
    size = settings.image_size
    model = _open_clip(settings, shape is not None, force_image_size=size).visual
    found = getattr(model, "preprocess_cfg", None) or {
        key: getattr(model, f"image_{key}", None) for key in ("mean", "std")
    }
    colours = shape or _colours(found, (CLIP_MEAN, CLIP_STD))
    tower = OutsideVision(model, size, recompute=settings.gradient_checkpointing, **colours)
    if settings.weights != "random" and shape is None:
        tower.loaded = fingerprint(model.state_dict())
    return tower


class OpenClipText(Tower):
    """Token ids [N, L], L <= context -> [N, dim]: open_clip's text side, pooled at end of text."""

    def __init__(self, model: Any, *, recompute: bool = False) -> None:
        """
        Args:
            model: a whole model of open_clip; its other parts are taken off.
            recompute: turn the model's own gradient checkpointing on.

        Raises:
            InputError: its features are not those of the highest id.
        """
        super().__init__()
        text = getattr(model, "text", None)
        pooling = getattr(text or model, "pool_type" if text else "text_pool_type", None)
        if pooling != "argmax" and (pooling is not None or text is not None):
            raise InputError(
                f"towers.text.model pools its features by {pooling or 'its own rule'}; open_clip "
                "models here take them at the end of text, the highest id"
            )
        if recompute:
            _recompute(model)
        self.context = int(model.context_length)
        for name in ("visual", "logit_scale", "logit_bias"):
            if hasattr(model, name):
                delattr(model, name)
        self.model = model
        with torch.no_grad():
            self.dim = self(torch.zeros(1, 1, dtype=torch.long)).shape[1]

    def forward(self, ids: Tensor) -> Tensor:
        """Features of the end-of-text token."""
        whole = F.pad(ids, (0, self.context - ids.shape[1]))  # some versions need all places
        features: Tensor = self.model.encode_text(whole)
        return features


def open_clip_text(settings: OpenClipWords, shape: Shape | None = None) -> OpenClipText:
    """The text side of a model of open_clip; arguments as of `TextKind.build`.

    Raises:
        InputError: open_clip cannot be imported, or has no such model or weights.
    """
    model = _open_clip(settings, shape is not None)
    tower = OpenClipText(model, recompute=settings.gradient_checkpointing)
    if settings.weights != "random" and shape is None:
        tower.loaded = fingerprint(tower.model.state_dict())
    return tower


def open_clip_sizes(model: str) -> tuple[int, int]:
    """The context and the vocabulary of a model's text side; both from its configuration.

    Raises:
        InputError: open_clip cannot be imported, or does not know the model.
    """
    found = _import("open_clip").get_model_config(model)
    if found is None:
        raise InputError(f"open_clip has no model {model}; see open_clip.list_models()")
    text = found["text_cfg"]
    return int(text.get("context_length", 77)), int(text.get("vocab_size", 49408))
