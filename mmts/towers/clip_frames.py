"""CLIP's vision transformer, as transformers has it, on each frame; the features are averaged."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmts.errors import InputError
from mmts.towers.pretrained import CLIP_VISION, PictureTower, random_model, recompute
from mmts.towers.tower import Shape
from mmts.towers.video_vit import CLIP_MEAN, CLIP_STD, Colour


class ClipFrames(PictureTower):
    """Video [N, T, 3, H, W] of any T, or pictures [N, 3, H, W] -> [N, dim].

    The mean over the frames of CLIP's projected features, which are not normalised before.
    """

    kind = CLIP_VISION

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
            model: a CLIPVisionModelWithProjection; any CLIP model with a vision side holds one.
            gradient_checkpointing: keep only the inputs of each layer.
            mean, std: per channel, on the scale 0 to 255.
        """
        super().__init__(model, mean=mean, std=std)
        self.dim: int = model.config.projection_dim
        self.image_size: int = model.config.image_size
        if gradient_checkpointing:
            recompute(model)

    @classmethod
    def random(cls, image_size: int, shape: dict[str, int], **settings: Any) -> ClipFrames:
        """With random weights; `shape`: patch_size, width, layers, heads and dim."""
        model = random_model(
            CLIP_VISION,
            image_size=image_size,
            patch_size=shape["patch_size"],
            hidden_size=shape["width"],
            intermediate_size=4 * shape["width"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            projection_dim=shape["dim"],
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
                f"{self.kind.what}: the input is {list(video.shape)}; it must be [N, T, 3, {size}, "
                f"{size}]: resize to that"
            )
        pixels = self.normalise(video.flatten(0, 1))
        features: Tensor = self.model(pixel_values=pixels).image_embeds
        return features.reshape(len(video), -1, self.dim).mean(dim=1)


def load_clip(
    weights: str, image_size: int, what: str, shape: Shape | None, **more: Any
) -> ClipFrames:
    """Return CLIP with its weights.

    Args:
        weights: a folder or hub id.
        image_size: that of the settings.
        what: pictures or frames, for errors.
        shape: of a tower that was trained before, whose weights follow.
        more: keyword arguments of ClipFrames.

    Raises:
        InputError: there are no such weights, or they are of another image_size.
    """
    if shape is not None:
        return ClipFrames.empty(shape, **more)
    tower = ClipFrames.load(weights, **more)
    if tower.image_size != image_size:
        raise InputError(
            f"towers.vision.image_size is {image_size} but the {what} of {weights} have "
            f"{tower.image_size} pixels a side; set it to that"
        )
    return tower
