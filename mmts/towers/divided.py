"""Divided space-time attention: each block attends over time, then over space.

TimeSformer (Bertasius et al. 2021, arXiv 2102.05095) in the form of Frozen in Time (Bain et al.
2021, arXiv 2104.00650), which LaViLa (Zhao et al. 2022, arXiv 2212.04501) puts around CLIP's ViT.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmts.errors import InputError
from mmts.towers.blocks import MLP, Attention, DropPath
from mmts.towers.video_vit import VideoViT, VideoViTConfig


class GroupedAttention(Attention):
    """Attention within one place over time, or within one frame over its places.

    The class token attends to all tokens, and every group sees the class token beside its own.
    """

    def forward(self, x: Tensor, frames: int = 1, over_time: bool = False) -> Tensor:
        """[N, 1 + frames * places, width], frame by frame -> the same."""
        query, key, value = self.split(x)
        first = F.scaled_dot_product_attention(query[:, :, :1], key, value)
        groups = [_group(part[:, :, 1:], frames, over_time) for part in (query, key, value)]
        count = groups[0].shape[1]
        seen = [
            torch.cat([part[:, :, :1].unsqueeze(1).expand(-1, count, -1, -1, -1), group], dim=3)
            for part, group in zip((key, value), groups[1:], strict=True)
        ]
        out = F.scaled_dot_product_attention(
            groups[0].flatten(0, 1), seen[0].flatten(0, 1), seen[1].flatten(0, 1)
        )
        rest = _ungroup(out.view(-1, count, *out.shape[1:]), over_time)
        return self.merge(torch.cat([first, rest], dim=2))


def _group(x: Tensor, frames: int, over_time: bool) -> Tensor:
    """[N, heads, frames * places, d] -> [N, groups, heads, members, d]."""
    rows, heads, length, size = x.shape
    x = x.view(rows, heads, frames, length // frames, size)
    return x.permute(0, 3, 1, 2, 4) if over_time else x.transpose(1, 2)


def _ungroup(x: Tensor, over_time: bool) -> Tensor:
    """The way back from `_group`."""
    return (x.permute(0, 2, 3, 1, 4) if over_time else x.transpose(1, 2)).flatten(2, 3)


class DividedBlock(nn.Module):
    """Attention over time, over space, and an MLP.

    As in Frozen in Time, the attention over space reads what time has added, but its own residual
    starts from the block's input. Attention over time starts at zero: the block is then a ViT's.
    """

    def __init__(self, config: VideoViTConfig, drop_path: float) -> None:
        super().__init__()
        width, eps = config.width, config.norm_eps
        self.frames = config.frames
        self.norm_time = nn.LayerNorm(width, eps=eps)
        self.time = GroupedAttention(width, config.heads)
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = GroupedAttention(width, config.heads)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, config.quick_gelu, config.mlp)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1 + frames * places, width] -> the same."""
        timed = x + self.time(self.norm_time(x), self.frames, True)
        x = x + self.drop_path(self.attn(self.norm1(timed), self.frames, False))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class DividedViT(VideoViT):
    """Video [N, T, 3, H, W] -> [N, dim] by divided attention; pixels as in `VideoViT`.

    `drop_path` rises linearly from 0 in the first block to its value in the last, as LaViLa has it.
    LaViLa's weights want quick_gelu, norm_eps 1e-6 and AVION_MEAN.
    """

    def __init__(self, config: VideoViTConfig) -> None:
        if config.patch_dropout:
            raise InputError(
                f"divided_vit: patch_dropout is {config.patch_dropout}; divided attention needs "
                "all patches: set it to 0"
            )
        super().__init__(config)
        for block in self.blocks:
            assert isinstance(block, DividedBlock)
            nn.init.zeros_(block.time.qkv.weight)

    def eps_before(self, config: VideoViTConfig) -> float:
        """1e-5 whatever the blocks have: so are LaViLa's weights."""
        return 1e-5

    def block(self, config: VideoViTConfig, layer: int) -> nn.Module:
        """Block number `layer`."""
        return DividedBlock(config, config.drop_path * layer / max(config.layers - 1, 1))
