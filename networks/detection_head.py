"""The detection head of VMM."""

import math

import torch
from torch import nn

from networks.bifpn import Activation, InvertedBottleneck, depthwise_conv
from utils.anchors import RATIOS, STRIDES
from utils.precision import at_least_float32

PRIOR = 0.01  # initial probability of each class at each anchor (Lin et al., ICCV 2017)


class DetectionHead(nn.Module):
    """Box offsets and class logits of all anchors, from separate layers for each level.

    Args:
        width: channels of the levels.
        num_logits: class logits per anchor.
        head_type, activation: see `networks.vmm.VMM`.
        with_prior: initialize the logits so that their sigmoid is PRIOR.
    """

    def __init__(self, width: int, num_logits: int, head_type: str, activation: Activation, with_prior: bool):
        super().__init__()

        def per_level(num_values: int) -> nn.ModuleList:
            channels = len(RATIOS) * num_values
            return nn.ModuleList(_build_layers(head_type, width, channels, activation) for _ in STRIDES)

        self.boxes = per_level(4)
        self.classes = per_level(num_logits)
        if with_prior:
            for layers in self.classes:
                last = layers.pointwise if head_type == "dsconv" else layers.project[1]
                nn.init.constant_(last.bias, -math.log(1 / PRIOR - 1))

    def forward(self, levels: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Features (B, C, h, w) of each level: (B, A, 4 + num_logits), in the order of `utils.anchors.anchor_boxes`."""
        boxes, logits = (
            torch.cat([_by_anchor(layers(level)) for layers, level in zip(branch, levels, strict=True)], dim=1)
            for branch in (self.boxes, self.classes)
        )
        return at_least_float32(torch.cat([boxes, logits], dim=2))


class SeparableHead(nn.Module):
    """A depthwise 3x3 convolution, and a 1x1 convolution with bias."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.depthwise = depthwise_conv(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, C, h, w): (B, out, h, w)."""
        return self.pointwise(self.depthwise(x))


def _build_layers(head_type: str, in_channels: int, out_channels: int, activation: Activation) -> nn.Module:
    if head_type == "dsconv":
        return SeparableHead(in_channels, out_channels)
    return InvertedBottleneck(in_channels, out_channels, activation)


def _by_anchor(x: torch.Tensor) -> torch.Tensor:
    """From (B, anchors per location * values, h, w) to (B, h * w * anchors per location, values)."""
    return x.permute(0, 2, 3, 1).unflatten(3, (len(RATIOS), -1)).flatten(1, 3)
