"""BEATs (Chen et al. 2022, arXiv 2212.09058): a transformer on patches of a filterbank.

It is WavLM's transformer (arXiv 2110.13900) but for three things: the gate of the position bias
looks at the projected queries, residuals are weighted as in DeepNorm (arXiv 2203.00555), and the
gradient that goes down is made smaller by each layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from mmts.errors import InputError
from mmts.settings.shapes import BEATS_PATCH as PATCH
from mmts.settings.shapes import BeatsShape
from mmts.towers.converted import read_part
from mmts.towers.tower import Shape, Tower

BUCKETS, FARTHEST = 320, 800
"""Of relative positions: 320 numbers; from 800 tokens on all are one."""
EPSILON = 1e-5
FAMILIES = ("beats", "vast")
"""Of checkpoints that hold such a tower."""


class Beats(Tower):
    """Filterbank slices [N, A, T, F] -> [N, width]: the mean over tokens and slices.

    Attributes:
        dim: the width, of `tokens` too.
    """

    def __init__(
        self, shape: BeatsShape, *, layer_drop: float = 0.0, gradient_decay: float = 1.0
    ) -> None:
        """
        Args:
            shape: sizes.
            layer_drop: chance that training leaves out a layer (arXiv 1909.11556).
            gradient_decay: what each layer multiplies the gradient by that goes on to those below.
        """
        super().__init__()
        self.sizes, self.layer_drop, self.gradient_decay = shape, layer_drop, gradient_decay
        self.dim = width = shape.width
        self.patches = nn.Conv2d(1, shape.channels, PATCH, PATCH, bias=False)
        self.patch_norm = nn.LayerNorm(shape.channels, eps=EPSILON)
        self.widen = nn.Linear(shape.channels, width)
        self.positions = weight_norm(
            nn.Conv1d(width, width, shape.kernel, padding=shape.kernel // 2, groups=shape.groups),
            dim=2,
        )
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.distances = nn.Embedding(BUCKETS, shape.heads)
        alpha = (2 * shape.layers) ** 0.25
        self.layers = nn.ModuleList(_Layer(shape, alpha) for _ in range(shape.layers))

    @classmethod
    def converted(cls, spec: str, **settings: float) -> Beats:
        """Return the tower in a folder that `mmts.towers.convert` wrote; InputError without."""
        found = read_part(spec, "audio", FAMILIES)
        with torch.device("meta"):
            tower = cls(BeatsShape.model_validate(found.facts["shape"]), **settings)
        found.fill(tower)
        return tower

    @property
    def shape(self) -> Shape:
        """Its sizes, as JSON."""
        return self.sizes.model_dump()

    def tokens(self, slices: Tensor) -> Tensor:
        """Return all tokens [N, A, L, width] of filterbank slices [N, A, T, F].

        There is one for each PATCH x PATCH patch, time-major.

        Raises:
            InputError: a slice has less than a patch, or no whole number of them.
        """
        if slices.ndim != 4 or any(side < PATCH or side % PATCH for side in slices.shape[2:]):
            raise InputError(
                f"beats: the input is {list(slices.shape)}; it must be [N, A, T, F], T and F "
                f"multiples of {PATCH}"
            )
        x = self.patches(slices.flatten(0, 1).unsqueeze(1)).flatten(2).transpose(1, 2)
        x = self.widen(self.patch_norm(x))
        placed = self.positions(x.transpose(1, 2))
        if self.sizes.kernel % 2 == 0:
            placed = placed[..., :-1]
        x = self.norm(x + F.gelu(placed).transpose(1, 2))
        bias = self.distances(_buckets(x.shape[1], x.device)).permute(2, 0, 1)
        for layer in self.layers:
            x = _smaller_gradient(x, self.gradient_decay)
            if self.training and self.layer_drop:  # computed all the same: ranks train alike
                kept = torch.rand((), device=x.device) >= self.layer_drop
                x = torch.where(kept, layer(x, bias), x)
            else:
                x = layer(x, bias)
        found: Tensor = x.reshape(*slices.shape[:2], -1, self.dim)
        return found

    def forward(self, slices: Tensor) -> Tensor:
        """Return the mean over tokens, and over slices."""
        return self.tokens(slices).mean(dim=(1, 2))


class _Layer(nn.Module):
    """Attention and MLP, each normalised after it is added to `alpha` times its input."""

    def __init__(self, shape: BeatsShape, alpha: float) -> None:
        super().__init__()
        width = shape.width
        self.heads, self.alpha = shape.heads, alpha
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.gate = nn.Linear(width // shape.heads, 8)
        self.gate_scale = nn.Parameter(torch.ones(shape.heads, 1))
        self.attention_norm = nn.LayerNorm(width, eps=EPSILON)
        self.fc1, self.fc2 = nn.Linear(width, shape.mlp), nn.Linear(shape.mlp, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """[N, L, width] -> the same; bias: [heads, L, L], by relative position."""
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        a, b = self.gate(query).unflatten(-1, (2, 4)).sum(-1).sigmoid().unbind(-1)
        gate = a * (b * self.gate_scale - 1) + 2  # [N, heads, L]
        seen = F.scaled_dot_product_attention(
            query, key, value, attn_mask=(gate.unsqueeze(-1) * bias).to(query.dtype)
        )
        x = self.attention_norm(self.alpha * x + self.out(seen.transpose(1, 2).flatten(2)))
        found: Tensor = self.norm(self.alpha * x + self.fc2(F.gelu(self.fc1(x))))
        return found


def _buckets(length: int, device: torch.device) -> Tensor:
    """[L, L]: the number of the bucket of each relative position; near ones have their own."""
    place = torch.arange(length, device=device)
    distance = place[None, :] - place[:, None]
    half = BUCKETS // 2
    exact = half // 2
    far = distance.abs().clamp(min=1).float().div(exact).log() / math.log(FARTHEST / exact)
    far = (exact + far * (half - exact)).long().clamp(max=half - 1)
    return half * (distance > 0) + torch.where(distance.abs() < exact, distance.abs(), far)


def _smaller_gradient(x: Tensor, factor: float) -> Tensor:
    """The same values, whose gradient is multiplied."""
    if factor == 1.0 or not x.requires_grad:
        return x
    return x.detach() + factor * (x - x.detach())
