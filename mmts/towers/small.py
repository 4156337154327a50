"""Small towers that are trained from scratch: a CNN, a ViT, a text transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmts.errors import InputError, in_short
from mmts.towers.tokens import MAX_TOKENS, PAD
from mmts.towers.tower import Tower
from mmts.weights import fingerprint, load_state, unwrapped, weight_file

WIDTHS = (32, 64, 128, 256)
PATCH, VIT_WIDTH, VIT_DEPTH, VIT_HEADS = 16, 192, 6, 3
TEXT_WIDTH, TEXT_DEPTH, TEXT_HEADS = 192, 4, 3


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] -> float in [-1, 1]."""
    return pixels.float() / 127.5 - 1.0


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip; the first one may stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H', W']."""
        return torch.relu(self.body(x) + self.skip(x))


class SmallCNN(Tower):
    """Residual CNN of 1.2 M parameters: uint8 [N, 3, H, W] -> [N, 256]."""

    dim = WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 5, 2, 2, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        inputs = (WIDTHS[0], *WIDTHS[:-1])
        self.blocks = nn.Sequential(
            *(ResidualBlock(i, o, 2) for i, o in zip(inputs, WIDTHS, strict=True))
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Features after global average pooling."""
        features: Tensor = self.blocks(self.stem(normalise(pixels))).mean(dim=(2, 3))
        return features


def encoder(width: int, depth: int, heads: int) -> nn.TransformerEncoder:
    """A pre-norm transformer encoder."""
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)


class SmallViT(Tower):
    """Vision transformer of 2.8 M parameters, 16 px patches: uint8 [N, 3, H, W] -> [N, 192]."""

    dim = VIT_WIDTH

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, VIT_WIDTH, PATCH, PATCH)
        self.position = nn.Parameter(0.02 * torch.randn(1, (image_size // PATCH) ** 2, VIT_WIDTH))
        self.encoder = encoder(VIT_WIDTH, VIT_DEPTH, VIT_HEADS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Mean of the patch tokens."""
        tokens = self.patches(normalise(pixels)).flatten(2).transpose(1, 2)
        features: Tensor = self.encoder(tokens + self.position).mean(dim=1)
        return features


class SmallTextTransformer(Tower):
    """Text transformer: token ids [N, L], 0 for padding -> [N, 192]."""

    dim = TEXT_WIDTH

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, TEXT_WIDTH, padding_idx=PAD)
        self.position = nn.Parameter(0.02 * torch.randn(1, MAX_TOKENS, TEXT_WIDTH))
        self.encoder = encoder(TEXT_WIDTH, TEXT_DEPTH, TEXT_HEADS)

    def forward(self, ids: Tensor) -> Tensor:
        """Mean over the tokens that are not padding."""
        real = ids != PAD
        hidden = self.encoder(
            self.tokens(ids) + self.position[:, : ids.shape[1]], src_key_padding_mask=~real
        )
        weight = real.unsqueeze(-1).to(hidden.dtype)
        features: Tensor = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return features


def load(tower: Tower, name: str, weights: str) -> None:
    """Put weights from a file into a tower; InputError where they are those of another."""
    path = weight_file(weights)
    state = unwrapped(load_state(path), path)
    tower.loaded = fingerprint(state)
    try:
        tower.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{weights} holds no {name} weights ({in_short(error)})") from None
