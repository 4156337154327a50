"""ResNet (arXiv 1512.03385) and ViT (arXiv 2010.11929), as transformers has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmts.errors import InputError
from mmts.towers.positions import resize_position
from mmts.towers.pretrained import (
    RESNET,
    VIT,
    PictureTower,
    config_of,
    empty_model,
    random_model,
    recompute,
)

RESNETS = {
    18: ("basic", (64, 128, 256, 512), (2, 2, 2, 2)),
    34: ("basic", (64, 128, 256, 512), (3, 4, 6, 3)),
    50: ("bottleneck", (256, 512, 1024, 2048), (3, 4, 6, 3)),
    101: ("bottleneck", (256, 512, 1024, 2048), (3, 4, 23, 3)),
    152: ("bottleneck", (256, 512, 1024, 2048), (3, 8, 36, 3)),
}


class ResNet(PictureTower):
    """Pictures [N, 3, H, W] of any size -> [N, dim]: the last map's mean; 2048 of ResNet-50."""

    kind = RESNET

    def __init__(self, model: Any, *, gradient_checkpointing: bool = False, **colours: Any) -> None:
        """
        Args:
            model: a ResNetModel.
            gradient_checkpointing: keep only the inputs of each residual block.
            colours: mean and std.
        """
        super().__init__(model, **colours)
        self.recompute = gradient_checkpointing
        self.dim: int = model.config.hidden_sizes[-1]

    @classmethod
    def random(cls, layers: int, **settings: Any) -> ResNet:
        """With random weights; `layers`: one of RESNETS."""
        kind, sizes, depths = RESNETS[layers]
        model = random_model(RESNET, layer_type=kind, hidden_sizes=sizes, depths=depths)
        return cls(model, **settings)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features after global average pooling."""
        x = self.model.embedder(self.normalise(pixels))
        again = self.recompute and self.training and torch.is_grad_enabled()
        for stage in self.model.encoder.stages:
            for block in stage.layers:
                x = _checkpoint(block, x) if again else block(x)
        features: Tensor = self.model.pooler(x).flatten(1)
        return features


def _checkpoint(block: nn.Module, x: Tensor) -> Tensor:
    """Run a block and forget what is in it; running statistics of batch norm are updated once."""
    if torch.compiler.is_compiling():  # a compiled block has no side effects to suppress
        found: Tensor = checkpoint(block, x, use_reentrant=False)
        return found

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _without_statistics(block)

    found = checkpoint(block, x, use_reentrant=False, context_fn=contexts)
    return found


@contextmanager
def _without_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norm still normalises by the batch, and leaves its running statistics as they are."""
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
    with ExitStack() as stack:
        for norm in norms:
            for name, value in (("momentum", 0.0), ("num_batches_tracked", None)):
                stack.callback(setattr, norm, name, getattr(norm, name))
                setattr(norm, name, value)
        yield


class ViT(PictureTower):
    """Pictures [N, 3, S, S] -> [N, width]: the class token after the last layer norm."""

    kind = VIT

    def __init__(self, model: Any, *, gradient_checkpointing: bool = False, **colours: Any) -> None:
        """
        Args:
            model: a ViTModel without a pooler.
            gradient_checkpointing: keep only the inputs of each layer.
            colours: mean and std.
        """
        super().__init__(model, **colours)
        self.dim: int = model.config.hidden_size
        self.recompute = gradient_checkpointing
        if gradient_checkpointing:
            recompute(model)

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        size: int = self.model.config.image_size
        return size

    def fit(self, image_size: int) -> None:
        """Take pictures of another size from now on; position embeddings are interpolated.

        Raises:
            InputError: the size is no multiple of the patches'.
        """
        config = config_of(self.model)
        patch = config["patch_size"]
        if image_size % patch:
            raise InputError(
                f"towers.vision.image_size {image_size} is no multiple of the ViT's patches, which "
                f"have {patch} pixels a side; change it"
            )
        if image_size == self.image_size:
            return
        state, name = self.model.state_dict(), "embeddings.position_embeddings"
        state[name] = resize_position(state[name][0], image_size // patch).unsqueeze(0)
        self.model = empty_model(VIT, {**config, "image_size": image_size})
        self.model.load_state_dict(state)
        if self.recompute:
            recompute(self.model)

    @classmethod
    def random(cls, image_size: int, shape: dict[str, int], **settings: Any) -> ViT:
        """With random weights; `shape`: patch_size, width, layers and heads."""
        model = random_model(
            VIT,
            image_size=image_size,
            patch_size=shape["patch_size"],
            hidden_size=shape["width"],
            intermediate_size=4 * shape["width"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
        )
        return cls(model, **settings)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of the class token.

        Raises:
            InputError: the pictures have another size than the model's.
        """
        size = self.image_size
        if pixels.shape[1:] != (3, size, size):
            raise InputError(
                f"vit: the input is {list(pixels.shape)}; it must be [N, 3, {size}, {size}]: "
                "resize to that"
            )
        features: Tensor = self.model(pixel_values=self.normalise(pixels)).last_hidden_state[:, 0]
        return features
