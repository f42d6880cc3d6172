"""The neck of VMM: a bidirectional feature pyramid (BiFPN, Tan et al., CVPR 2020) with three levels and plain sums."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import Conv2dNormActivation

Activation = Callable[..., nn.Module]
EXPANSION = 2


class InvertedBottleneck(nn.Module):
    """1x1, depthwise 3x3 and linear 1x1 convolution with BatchNorms (Sandler et al., CVPR 2018), without residual."""

    def __init__(self, in_channels: int, out_channels: int, activation: Activation = nn.ReLU6, stride: int = 1):
        super().__init__()
        width = EXPANSION * in_channels
        conv = partial(Conv2dNormActivation, activation_layer=activation)
        self.expand = conv(in_channels, width, 1)
        self.depthwise = conv(width, width, 3, stride, groups=width)
        self.project = Conv2dNormActivation(width, out_channels, 1, activation_layer=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, C, h, w): (B, out, h, w), or half the size (rounded up) with a stride of 2."""
        return self.project(self.depthwise(self.expand(x)))


class SeparableConv(nn.Module):
    """A depthwise 3x3 convolution, and a 1x1 convolution with BatchNorm and activation."""

    def __init__(self, in_channels: int, out_channels: int, activation: Activation = nn.ReLU6, stride: int = 1):
        super().__init__()
        self.depthwise = depthwise_conv(in_channels, stride)
        self.pointwise = Conv2dNormActivation(in_channels, out_channels, 1, activation_layer=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, C, h, w): (B, out, h, w), or half the size (rounded up) with a stride of 2."""
        return self.pointwise(self.depthwise(x))


def depthwise_conv(channels: int, stride: int = 1) -> nn.Conv2d:
    """A depthwise 3x3 convolution without bias."""
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)


class TriBiFPN(nn.Module):
    """One top-down and one bottom-up pass over the pyramid:

        t5 = p5,  t4 = p4 + up(t5),    t3 = p3 + up(t4)
        o3 = t3,  o4 = t4 + down(o3),  o5 = t5 + down(o4)

    `up` repeats pixels; `down` is a convolution block with stride 2.
    """

    def __init__(self, build_down: Callable[[], nn.Module]):
        super().__init__()
        self.down = nn.ModuleList([build_down(), build_down()])

    def forward(self, levels: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Features (B, C, h, w) at strides 8, 16 and 32: new features of the same shapes."""
        p3, p4, t5 = levels
        t4 = p4 + _up(t5, p4)
        t3 = p3 + _up(t4, p3)
        o4 = t4 + self.down[0](t3)
        return t3, o4, t5 + self.down[1](o4)


def _up(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, like.shape[-2:], mode="nearest")
