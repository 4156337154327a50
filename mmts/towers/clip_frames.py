"""CLIP's vision transformer, as transformers has it, on each frame; the features are averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.towers.tower import Tower
from mmts.towers.video_vit import CLIP_MEAN, CLIP_STD, Colour
from mmts.weights import fingerprint, sentence_model

REMEDY = "give a CLIP model's local folder, with config.json and model.safetensors"
# where image_mean and image_std stand: at the top, or under `image_processor`
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


class ClipFrames(Tower):
    """Video [N, T, 3, H, W] of any T, or pictures [N, 3, H, W] -> [N, dim].

    The mean over the frames of CLIP's projected features, which are not normalised before. uint8
    pixels are normalised here; floats are taken as normalised already.
    """

    def __init__(
        self,
        model: Any,
        *,
        gradient_checkpointing: bool = False,
        mean: Colour = CLIP_MEAN,
        std: Colour = CLIP_STD,
    ) -> None:
        """
        Args:
            model: a CLIPVisionModelWithProjection.
            mean, std: per channel, on the scale 0 to 255.
        """
        super().__init__()
        self.model = model
        self.dim = model.config.projection_dim
        self.image_size = model.config.image_size
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        if gradient_checkpointing:
            # transformers renames it: the old name goes with version 6
            newer = getattr(model, "activation_checkpointing_enable", None)
            (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})

    @classmethod
    def load(cls, spec: str, **settings: Any) -> ClipFrames:
        """CLIP from a local folder or a hub id; any CLIP model with a vision side will do.

        Pixels are normalised as its image processor says, by CLIP's own numbers without one.

        Raises:
            InputError: there is none, or it lacks weights that the tower needs.
        """
        from safetensors import SafetensorError
        from transformers import CLIPVisionModelWithProjection
        from transformers.utils import logging

        folder = sentence_model(spec)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            loaded: Any = CLIPVisionModelWithProjection.from_pretrained(
                folder, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            problem = " ".join(str(error).split()).partition(". ")[0][:160]
            raise InputError(
                f"{spec} cannot be loaded as a CLIP vision model ({problem}); {REMEDY}"
            ) from None
        model, missing = loaded[0].float(), sorted(loaded[1]["missing_keys"])
        if missing:
            raise InputError(
                f"{spec} lacks {len(missing)} of a CLIP vision model's weights ({missing[0]}, …); "
                f"{REMEDY}"
            )
        tower = cls(model, **{**_colours(folder), **settings})
        tower.loaded = fingerprint(model.state_dict())
        return tower

    @classmethod
    def empty(cls, shape: dict[str, Any], **settings: Any) -> ClipFrames:
        """A tower with random weights from what `shape` gives of another one."""
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        model = CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(shape["config"]))
        return cls(model, mean=tuple(shape["mean"]), std=tuple(shape["std"]), **settings)

    @property
    def shape(self) -> dict[str, Any]:
        """All that `empty` needs, as JSON."""
        colours = {name: getattr(self, name).flatten().tolist() for name in ("mean", "std")}
        return {"config": json.loads(self.model.config.to_json_string(use_diff=False)), **colours}

    def forward(self, video: Tensor) -> Tensor:
        """Mean over the frames.

        Raises:
            InputError: the frames have another size than the model's.
        """
        if video.ndim == 4:
            video = video.unsqueeze(1)
        size = self.image_size
        if video.ndim != 5 or video.shape[2:] != (3, size, size) or not video.shape[1]:
            raise InputError(
                f"clip_frames: the input is {list(video.shape)}; it must be [N, T, 3, {size}, "
                f"{size}]: resize to that"
            )
        pixels = video.flatten(0, 1)
        if not pixels.is_floating_point():
            pixels = (pixels.to(self.mean.dtype) - self.mean) / self.std
        features: Tensor = self.model(pixel_values=pixels).image_embeds
        return features.reshape(len(video), -1, self.dim).mean(dim=1)


def _colours(folder: str) -> dict[str, Colour]:
    """Mean and deviation of the model's image processor, on the scale 0 to 255."""
    from transformers.utils.hub import cached_file

    for name in PROCESSORS:
        path = cached_file(
            folder,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path is None:
            continue
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        found = found.get("image_processor", found)
        if "image_mean" in found and "image_std" in found:
            mean, std = (tuple(255 * v for v in found[f"image_{k}"]) for k in ("mean", "std"))
            return {"mean": mean, "std": std}
    return {}
