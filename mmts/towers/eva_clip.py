"""EVA-CLIP's vision transformer (Fang et al. 2023, arXiv 2303.15389), on each frame of a clip.

EVA01-CLIP-g is a plain ViT without a bias of keys, so that it is the ViT of transformers; what that
lacks is stochastic depth. VAST (arXiv 2305.18500) reads all tokens after the last layer norm.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmts.errors import InputError
from mmts.settings.shapes import EvaShape
from mmts.towers.blocks import DropPath
from mmts.towers.converted import read_part
from mmts.towers.positions import resize_position
from mmts.towers.pretrained import VIT, PictureTower, empty_model, random_model, recompute, spread
from mmts.towers.video_vit import CLIP_MEAN, CLIP_STD, Colour

EPSILON = 1e-6
"""Of layer norms."""
POSITIONS = "model.embeddings.position_embeddings"
FAMILIES = ("eva_clip", "vast")
"""Of checkpoints that hold such a tower."""


class EvaClip(PictureTower):
    """Video [N, T, 3, S, S] of any T -> [N, width]: the class tokens' mean over the frames.

    Attributes:
        dim: the width, of `tokens` too.
    """

    kind = VIT

    def __init__(
        self, model: Any, *, drop_path: float = 0.0, gradient_checkpointing: bool = False,
        mean: Colour = CLIP_MEAN, std: Colour = CLIP_STD,
    ) -> None:  # fmt: skip
        """
        Args:
            model: a ViTModel without a pooler.
            drop_path: stochastic depth of the last layer; it rises linearly from 0 at the first.
            gradient_checkpointing: keep only the inputs of each layer.
            mean, std: per channel, on the scale 0 to 255.
        """
        super().__init__(model, mean=mean, std=std)
        self.dim: int = model.config.hidden_size
        self.image_size: int = model.config.image_size
        last = max(1, len(model.layers) - 1)
        for number, layer in enumerate(model.layers):
            layer.dropout = DropPath(drop_path * number / last)  # behind attention and MLP
            layer.attention.k_proj.bias.requires_grad_(False)  # 0, and softmax does not see it
        if gradient_checkpointing:
            recompute(model)

    @classmethod
    def random(cls, image_size: int, shape: EvaShape, **settings: Any) -> EvaClip:
        """Return a tower with random weights."""
        model = random_model(
            VIT,
            image_size=image_size,
            patch_size=shape.patch_size,
            hidden_size=shape.width,
            intermediate_size=shape.mlp,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            initializer_range=spread(shape.width),
            layer_norm_eps=EPSILON,
        )
        return cls(model, **settings)

    @classmethod
    def converted(cls, spec: str, image_size: int, **settings: Any) -> EvaClip:
        """Return the tower in a folder that `mmts.towers.convert` wrote.

        Position embeddings are interpolated where the frames have another size.

        Raises:
            InputError: there is none, or image_size is no multiple of its patches.
        """
        found = read_part(spec, "vision", FAMILIES)
        config = {**found.facts["config"], "image_size": image_size}
        patch = config["patch_size"]
        if image_size % patch:
            raise InputError(
                f"towers.vision.image_size {image_size} is no multiple of the patches of {spec}, "
                f"which have {patch} pixels a side; change it"
            )
        position = found.state[POSITIONS][0]
        found.state[POSITIONS] = resize_position(position, image_size // patch).unsqueeze(0)
        with torch.device("meta"):
            model = empty_model(VIT, config)
        tower = cls(model, **settings)
        found.fill(tower)
        return tower

    def tokens(self, video: Tensor) -> Tensor:
        """Return all tokens [N, T, L, width] after the last layer norm, the class token first.

        Raises:
            InputError: the frames have another size than the model's.
        """
        size = self.image_size
        if video.ndim != 5 or video.shape[2:] != (3, size, size) or not video.shape[1]:
            raise InputError(
                f"eva_clip: the input is {list(video.shape)}; it must be [N, T, 3, {size}, {size}]"
            )
        pixels = self.normalise(video.flatten(0, 1))
        found: Tensor = self.model(pixel_values=pixels).last_hidden_state
        return found.reshape(*video.shape[:2], -1, self.dim)

    def forward(self, video: Tensor) -> Tensor:
        """Return the class tokens' mean over the frames."""
        return self.tokens(video)[:, :, 0].mean(dim=1)
