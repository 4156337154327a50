"""Parts of the pre-norm transformers that CLIP and its video descendants share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmts.errors import InputError


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) on torch's scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[N, L, width] -> query, key, value, each [N, heads, L, width / heads]."""
        rows, length, width = x.shape
        qkv = self.qkv(x).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return query, key, value

    def merge(self, x: Tensor) -> Tensor:
        """[N, heads, L, width / heads] -> [N, L, width]."""
        merged: Tensor = self.out(x.transpose(1, 2).flatten(2))
        return merged

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """[N, L, width] -> the same; `causal`: a token sees itself and those before it."""
        return self.merge(F.scaled_dot_product_attention(*self.split(x), is_causal=causal))


class MLP(nn.Module):
    """Two linear maps with GELU or CLIP's quick form of it between, by default 4 times as wide."""

    def __init__(self, width: int, quick_gelu: bool, inner: int | None = None) -> None:
        super().__init__()
        self.quick_gelu = quick_gelu
        self.fc1 = nn.Linear(width, inner or 4 * width)
        self.fc2 = nn.Linear(inner or 4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same."""
        x = self.fc1(x)
        x = x * torch.sigmoid(1.702 * x) if self.quick_gelu else F.gelu(x)
        out: Tensor = self.fc2(x)
        return out


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): a sample's whole branch is dropped with `rate`.

    What stays is divided by 1 - rate. Nothing happens outside training.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """[N, ...] -> the same."""
        if self.rate == 0.0 or not self.training:
            return x
        keep = torch.full((x.shape[0],) + (1,) * (x.ndim - 1), 1 - self.rate, device=x.device)
        return x * (torch.bernoulli(keep) / (1 - self.rate)).to(x.dtype)


class Block(nn.Module):
    """Pre-norm transformer block: attention and MLP, each on a residual branch."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        quick_gelu: bool,
        norm_eps: float,
        drop_path: float = 0.0,
        mlp: int | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = MLP(width, quick_gelu, mlp)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """[N, L, width] -> the same."""
        x = x + self.drop_path(self.attn(self.norm1(x), causal))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, recompute: bool, *arguments: Any) -> Tensor:
    """Run blocks one after another.

    With `recompute` (gradient checkpointing, Chen et al. 2016) only their inputs are kept for the
    backward pass: about a third more time, far less memory, the same gradients.
    """
    for block in blocks:
        if recompute and torch.is_grad_enabled():
            x = checkpoint(block, x, *arguments, use_reentrant=False)
        else:
            x = block(x, *arguments)
    return x


def initialise(blocks: nn.Module) -> None:
    """Linear weights from a normal of standard deviation 0.02, cut at two of it; no biases."""
    for module in blocks.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def check_shape(name: str, sizes: dict[str, int], rates: dict[str, float]) -> None:
    """Sizes must be positive, `width` a multiple of `heads`, rates in [0, 1).

    Raises:
        InputError: which one is not, with the name of the configuration.
    """
    for key, size in sizes.items():
        if size < 1:
            raise InputError(f"{name}: {key} is {size}; it must be at least 1")
    for key, rate in rates.items():
        if not 0 <= rate < 1:
            raise InputError(f"{name}: {key} is {rate}; it must be in [0, 1)")
    if sizes["width"] % sizes["heads"]:
        raise InputError(
            f"{name}: width {sizes['width']} is no multiple of heads {sizes['heads']}; change one"
        )
