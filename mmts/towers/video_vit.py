"""Joint space-time vision transformer: every patch of every frame attends to every other.

The vision tower of AVION (Zhao & Kraehenbuehl 2023, arXiv 2309.16669), which is that of CLIP
(Radford et al. 2021, arXiv 2103.00020) with a learned embedding of the frame added to the patches.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.towers.blocks import Block, check_shape, initialise, run_blocks
from mmts.towers.tower import Shape, Tower

Colour = tuple[float, float, float]
CLIP_MEAN: Colour = (122.7709383, 116.7460125, 104.09373615)
CLIP_STD: Colour = (68.5005327, 66.6321579, 70.32316305)
# What AVION and LaViLa subtract under CLIP's name: their red mean is lower. Their published weights
# were trained with it.
AVION_MEAN: Colour = (108.3272985, 116.7460125, 104.09373615)


@dataclass(frozen=True)
class VideoViTConfig:
    """Shape of a video transformer; the defaults are AVION's ViT-B/16 for EPIC-KITCHENS-100."""

    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    frames: int = 16
    dim: int = 512
    """Length of the features, behind the final projection."""
    quick_gelu: bool = False
    """OpenAI's CLIP and LaViLa: true. AVION starts from CLIP's weights but uses the exact GELU."""
    norm_eps: float = 1e-6
    """AVION and LaViLa: 1e-6; CLIP: 1e-5."""
    patch_dropout: float = 0.0
    """Share of patches that a training sample leaves out (Li et al. 2022, arXiv 2212.00794)."""
    drop_path: float = 0.0
    """Stochastic depth, the same rate in all blocks, as AVION has it."""
    gradient_checkpointing: bool = False
    mlp: int | None = None
    """Width inside the MLPs; None for four times `width`."""
    mean: Colour = CLIP_MEAN
    """Of uint8 pixels, red, green, blue, on the scale 0 to 255."""
    std: Colour = CLIP_STD

    def __post_init__(self) -> None:
        keys = ("image_size", "patch_size", "width", "layers", "heads", "frames", "dim")
        rates = {"patch_dropout": self.patch_dropout, "drop_path": self.drop_path}
        check_shape("video_vit", {key: getattr(self, key) for key in keys}, rates)
        if self.image_size % self.patch_size:
            raise InputError(
                f"video_vit: image_size {self.image_size} is no multiple of patch_size "
                f"{self.patch_size}; change one"
            )

    @property
    def grid(self) -> int:
        """Patches along a side of the frame."""
        return self.image_size // self.patch_size


class VideoViT(Tower):
    """Video [N, T, 3, H, W] -> [N, dim]; a picture [N, 3, H, W] is a video of one frame.

    uint8 pixels are normalised here with `mean` and `std`; floats are taken as normalised already.
    With one frame and `temporal` 0, as at the start, it is CLIP's vision transformer.
    """

    def __init__(self, config: VideoViTConfig) -> None:
        super().__init__()
        self.config, self.dim = config, config.dim
        width, patch = config.width, config.patch_size
        self.patches = nn.Conv2d(3, width, patch, patch, bias=False)
        self.cls = nn.Parameter(0.02 * torch.randn(width))
        self.position = nn.Parameter(0.02 * torch.randn(config.grid**2 + 1, width))
        self.temporal = nn.Parameter(torch.zeros(config.frames, width))
        self.norm_pre = nn.LayerNorm(width, eps=self.eps_before(config))
        self.blocks = nn.ModuleList(self.block(config, i) for i in range(config.layers))
        self.norm_post = nn.LayerNorm(width, eps=config.norm_eps)
        self.projection = nn.Linear(width, config.dim, bias=False)
        initialise(self.blocks)
        nn.init.normal_(self.projection.weight, std=width**-0.5)
        self.mean: Tensor
        self.std: Tensor
        self.set_colours()

    def set_colours(self) -> None:
        """Buffers for normalising pixels; they follow the configuration, not the checkpoint."""
        for name, values in (("mean", self.config.mean), ("std", self.config.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def eps_before(self, config: VideoViTConfig) -> float:
        """Epsilon of the layer norm in front of the blocks."""
        return config.norm_eps

    def block(self, config: VideoViTConfig, layer: int) -> nn.Module:
        """Block number `layer`."""
        return Block(
            config.width,
            config.heads,
            quick_gelu=config.quick_gelu,
            norm_eps=config.norm_eps,
            drop_path=config.drop_path,
            mlp=config.mlp,
        )

    @property
    def shape(self) -> Shape:
        """All sizes and constants."""
        return asdict(self.config)

    def forward(self, video: Tensor) -> Tensor:
        """Features of the class token.

        Raises:
            InputError: the video has another shape than the tower.
        """
        tokens = self.norm_pre(self.drop_patches(self.embed(video)))
        recompute = self.config.gradient_checkpointing and self.training
        tokens = run_blocks(self.blocks, tokens, recompute)
        features: Tensor = self.projection(self.norm_post(tokens[:, 0]))
        return features

    def embed(self, video: Tensor) -> Tensor:
        """[N, T, 3, H, W] -> [N, 1 + T * patches, width]: class token, then frame by frame."""
        if video.ndim == 4:
            video = video.unsqueeze(1)
        size = self.config.image_size
        if video.ndim != 5 or video.shape[1:] != (self.config.frames, 3, size, size):
            raise InputError(
                f"video_vit: the input is {list(video.shape)}; it must be [N, "
                f"{self.config.frames}, 3, {size}, {size}]: sample and resize to that, or fit the "
                "tower's positions to another size"
            )
        pixels = video.flatten(0, 1)
        if not pixels.is_floating_point():
            pixels = (pixels.to(self.mean.dtype) - self.mean) / self.std
        patches = self.patches(pixels).flatten(2).transpose(1, 2)
        patches = patches.reshape(video.shape[0], -1, self.config.width)
        place = (self.position[1:] + self.temporal.unsqueeze(1)).flatten(0, 1)
        first = (self.cls + self.position[0]).expand(video.shape[0], 1, -1)
        return torch.cat([first, patches + place], dim=1)

    def drop_patches(self, tokens: Tensor) -> Tensor:
        """In training, keep a random share of each sample's patches; the class token stays."""
        if self.config.patch_dropout == 0.0 or not self.training:
            return tokens
        rows, patches = tokens.shape[0], tokens.shape[1] - 1
        keep = max(1, int(patches * (1 - self.config.patch_dropout)))
        chosen = torch.rand(rows, patches, device=tokens.device).topk(keep).indices + 1
        row = torch.arange(rows, device=tokens.device).unsqueeze(1)
        return torch.cat([tokens[:, :1], tokens[row, chosen]], dim=1)
