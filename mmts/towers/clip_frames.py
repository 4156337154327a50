"""CLIP's vision transformer, as transformers has it, on each frame; the features are averaged."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmts.errors import InputError
from mmts.settings.towers import VideoShape, VisionTower
from mmts.towers.pretrained import CLIP_VISION, PictureTower, random_model, recompute
from mmts.towers.tower import Shape, Tower
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


def clip(settings: VisionTower, shape: Shape | None) -> Tower:
    """Return CLIP on a picture or on frames, see `mmts.towers.build.vision_tower`."""
    more: Shape = {"gradient_checkpointing": settings.gradient_checkpointing}
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
