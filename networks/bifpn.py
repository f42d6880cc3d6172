"""The neck of VMM: a bidirectional feature pyramid (as of Tan et al., CVPR 2020) of three levels."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import Conv2dNormActivation

Activation = Callable[..., nn.Module]
EXPANSION = 2


class InvertedBottleneck(nn.Module):
    """Sandler et al., CVPR 2018, without a residual connection: 1x1, depthwise 3x3, linear 1x1, each with BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int, activation: Activation = nn.ReLU6, stride: int = 1):
        super().__init__()
        width = EXPANSION * in_channels
        conv = partial(Conv2dNormActivation, activation_layer=activation)
        self.expand = conv(in_channels, width, 1)
        self.depthwise = conv(width, width, 3, stride, groups=width)
        self.project = Conv2dNormActivation(width, out_channels, 1, activation_layer=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w): (B, out, h, w), or half of it, rounded up, with a stride of 2."""
        return self.project(self.depthwise(self.expand(x)))


class SeparableConv(nn.Module):
    """A depthwise 3x3 convolution and a 1x1 convolution with BatchNorm and an activation."""

    def __init__(self, in_channels: int, out_channels: int, activation: Activation = nn.ReLU6, stride: int = 1):
        super().__init__()
        self.depthwise = depthwise_conv(in_channels, stride)
        self.pointwise = Conv2dNormActivation(in_channels, out_channels, 1, activation_layer=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w): (B, out, h, w), or half of it, rounded up, with a stride of 2."""
        return self.pointwise(self.depthwise(x))


def depthwise_conv(channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution of each channel by itself, without bias."""
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)


class TriBiFPN(nn.Module):
    """One pass down and one up the pyramid, with plain sums:

        t5 = p5,  t4 = p4 + up(t5),  t3 = p3 + up(t4)
        o3 = t3,  o4 = t4 + D(o3),   o5 = t5 + D(o4)

    `up` repeats pixels; D, `down` below, is a convolution of stride 2.
    """

    def __init__(self, build_down: Callable[[], nn.Module]):
        super().__init__()
        self.down = nn.ModuleList([build_down(), build_down()])

    def forward(self, levels: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Features (B, C, h, w) of strides 8, 16 and 32: the same shapes."""
        p3, p4, t5 = levels
        t4 = p4 + _up(t5, p4)
        t3 = p3 + _up(t4, p3)
        o4 = t4 + self.down[0](t3)
        return t3, o4, t5 + self.down[1](o4)


def _up(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, like.shape[-2:], mode="nearest")
