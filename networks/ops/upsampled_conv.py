"""Bilinear upsampling and a 3x3 convolution in one operation."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from utils.cpu_kernels import use_cpu_kernels


def upsample4(x: torch.Tensor) -> torch.Tensor:
    """Bilinear upsampling from (B, C, H/4, W/4) to (B, C, H, W)."""
    return F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


class UpsampledConv3x3(nn.Conv2d):
    """A padded 3x3 convolution with few output channels after x4 upsampling, (B, C, H/4, W/4) to (B, out, H, W):

        return F.conv2d(upsample4(x), self.weight, self.bias, padding=1)

    On CPUs (which need H/4 and W/4 of at least 3), the C upsampled channels are never computed. Both steps are linear
    and shift-invariant, and the 4x4 output pixels of a pixel of x depend only on its 3x3 neighborhood, so 16
    convolutions of x, one per output pixel, give the same result. At the borders, the convolution pads with zeros but
    the upsampling repeats the outermost pixels: corners, edges and interior are nine parts with separate weights.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.register_buffer("taps", _upsampled_taps(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if use_cpu_kernels(x):
            return self._without_upsampling(x)
        return super().forward(upsample4(x))

    def _without_upsampling(self, x: torch.Tensor) -> torch.Tensor:
        # i, j: first, inner or last row and column of x; a, b: output pixel in the 4x4; t, s: tap; n, m: neighbor in x.
        weights = torch.einsum("iatn,jbsm,octs->ijoabcnm", self.taps, self.taps, self.weight).flatten(2, 4)
        bias = self.bias[:, None].expand(-1, 16).flatten()
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        height, width = x.shape[-2:]
        rows = []
        for i, (top, bottom) in enumerate(pairwise((0, 1, height - 1, height))):
            parts = [
                F.conv2d(padded[..., top : bottom + 2, left : right + 2], weights[i, j], bias)
                for j, (left, right) in enumerate(pairwise((0, 1, width - 1, width)))
            ]
            rows.append(torch.cat(parts, dim=-1))
        return F.pixel_shuffle(torch.cat(rows, dim=-2), 4)


def _upsampled_taps() -> torch.Tensor:
    """Bilinear weights behind the taps of the convolution, along one axis: (3, 4, 3, 3).

    Entry [i, a, t, n] is the weight of neighbor n - 1 of a low-resolution pixel in tap t at the a-th of the pixel's
    four output pixels; i is 0 for the first, 1 for inner and 2 for the last pixel of the axis.
    """
    phase, tap, neighbor = torch.meshgrid(torch.arange(4), torch.arange(3), torch.arange(3), indexing="ij")
    position = (phase + tap - 1 - 1.5) / 4  # of the tap relative to the low-resolution pixel, in such pixels
    taps = (1 - (position - (neighbor - 1)).abs()).clamp_min(0).repeat(3, 1, 1, 1)
    taps[0, 0, 0] = 0  # zero padding beyond the borders
    taps[2, 3, 2] = 0
    return taps
