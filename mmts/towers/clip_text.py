"""CLIP's text transformer (Radford et al. 2021, arXiv 2103.00020), with either GELU."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from mmts.errors import InputError
from mmts.towers.blocks import Block, check_shape, initialise, run_blocks
from mmts.towers.tower import Shape, Tower


@dataclass(frozen=True)
class ClipTextConfig:
    """Shape of a text transformer; the defaults are those beside AVION's ViT-B/16."""

    context: int = 77
    """Most tokens that a text may have."""
    vocabulary: int = 49408
    width: int = 512
    layers: int = 12
    heads: int = 8
    dim: int = 512
    quick_gelu: bool = False
    norm_eps: float = 1e-5
    gradient_checkpointing: bool = False
    mlp: int | None = None
    """Width inside the MLPs; None for four times `width`."""

    def __post_init__(self) -> None:
        keys = ("context", "vocabulary", "width", "layers", "heads", "dim")
        check_shape("clip_text", {key: getattr(self, key) for key in keys}, {})


class ClipText(Tower):
    """Token ids [N, L], L <= context -> [N, dim]; causal, pooled at the end-of-text token.

    End of text is the highest id of CLIP's vocabulary: the first place of a row's largest id is
    taken. What follows it (padding) has no effect.
    """

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.config, self.dim = config, config.dim
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Parameter(0.01 * torch.randn(config.context, config.width))
        self.blocks = nn.ModuleList(
            Block(
                config.width,
                config.heads,
                quick_gelu=config.quick_gelu,
                norm_eps=config.norm_eps,
                mlp=config.mlp,
            )
            for _ in range(config.layers)
        )
        self.norm_post = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.projection = nn.Linear(config.width, config.dim, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)
        initialise(self.blocks)
        nn.init.normal_(self.projection.weight, std=config.width**-0.5)

    @property
    def shape(self) -> Shape:
        """All sizes and constants."""
        return asdict(self.config)

    def forward(self, ids: Tensor) -> Tensor:
        """Features of the end-of-text token.

        Raises:
            InputError: the texts are longer than the tower's context.
        """
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= self.config.context:
            raise InputError(
                f"clip_text: the token ids are {list(ids.shape)}; they must be [N, L] with L from "
                f"1 to {self.config.context}: truncate the texts"
            )
        x = self.tokens(ids) + self.position[: ids.shape[1]]
        recompute = self.config.gradient_checkpointing and self.training
        x = run_blocks(self.blocks, x, recompute, True)
        last = x[torch.arange(len(ids), device=ids.device), ids.argmax(dim=1)]
        features: Tensor = self.projection(self.norm_post(last))
        return features
