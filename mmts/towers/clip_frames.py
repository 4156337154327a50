"""CLIP's vision transformer, as transformers has it, on each frame; the features are averaged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.towers.tower import Tower
from mmts.towers.video_vit import CLIP_MEAN, CLIP_STD, Colour
from mmts.weights import sentence_model


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

        Raises:
            InputError: there is none, or it lacks weights that the tower needs.
        """
        from transformers import CLIPVisionModelWithProjection

        try:
            loaded: Any = CLIPVisionModelWithProjection.from_pretrained(
                sentence_model(spec), output_loading_info=True
            )
        except InputError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            problem = " ".join(str(error).split())[:160]
            raise InputError(f"{spec} holds no CLIP vision model ({problem})") from None
        model, missing = loaded[0], sorted(loaded[1]["missing_keys"])
        if missing:
            raise InputError(
                f"{spec} lacks {len(missing)} of a CLIP vision model's weights ({missing[0]}, …)"
            )
        return cls(model, **settings)

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
