"""EfficientNet-Lite0, written so that the released ImageNet weights load.

Architecture: Tan & Le 2019 (arXiv 1905.11946) as trimmed for edge devices by its authors: no
squeeze-and-excitation, ReLU6, stem and head not scaled. Parameter names follow the published
PyTorch checkpoint, which was ported from TensorFlow: hence the one-sided padding and the large
batch-norm epsilon.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from mmts.errors import InputError, in_short
from mmts.towers.tower import Tower


class Stage(NamedTuple):
    """Blocks that share kernel size and width; the first one strides."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280
EPS, MOMENTUM = 1e-3, 0.01


class SamePadConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', ceil(H / stride), ceil(W / stride)]."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
        top, left = height // 2, width // 2
        if height % 2 or width % 2:  # a copy of the input, so only where the two sides differ
            x = F.pad(x, (left, width - left, top, height - top))
            top = left = 0
        return F.conv2d(x, self.weight, None, self.stride, (top, left), 1, self.groups)


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Module:
    """A convolution without bias, padded as TensorFlow does."""
    return SamePadConv(inputs, outputs, kernel, stride, groups=groups, bias=False)


def norm(width: int) -> nn.Module:
    """Batch norm with the checkpoint's constants."""
    return nn.BatchNorm2d(width, eps=EPS, momentum=MOMENTUM)


class Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise, project 1x1, and a skip where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = inputs * expand
        self.expands = expand > 1
        if self.expands:
            self._expand_conv, self._bn0 = conv(inputs, inner), norm(inner)
        self._depthwise_conv = conv(inner, inner, kernel, stride, groups=inner)
        self._bn1 = norm(inner)
        self._project_conv, self._bn2 = conv(inner, outputs), norm(outputs)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H', W']."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        z: Tensor = self._bn2(self._project_conv(y))
        return x + z if self.skips else z


class EfficientNetLite0(Tower):
    """uint8 pictures [N, 3, H, W] -> [N, 1280] pooled features."""

    dim = HEAD

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = conv(3, STEM, 3, 2), norm(STEM)
        blocks, width = [], STEM
        for stage in STAGES:
            for i in range(stage.repeats):
                stride = stage.stride if i == 0 else 1
                blocks.append(Block(width, stage.width, stage.kernel, stride, stage.expand))
                width = stage.width
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = conv(width, HEAD), norm(HEAD)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features after global average pooling."""
        x = (pixels.float() - 127.0) / 128.0
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        return x.mean(dim=(2, 3))

    def load_released(self, state: dict[str, Tensor], where: str) -> None:
        """Take the released checkpoint; its ImageNet classifier `_fc` is left out."""
        wanted = {k: v for k, v in state.items() if not k.startswith("_fc.")}
        try:
            self.load_state_dict(wanted)
        except RuntimeError as error:
            raise InputError(
                f"{where} holds no EfficientNet-Lite0 weights ({in_short(error)})"
            ) from None
