"""A resize and a convolution in one."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from utils.cpu_kernels import use_cpu_kernels


def upsample4(x: torch.Tensor) -> torch.Tensor:
    """(B, C, H/4, W/4) to (B, C, H, W), bilinear."""
    return F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


class UpsampledConv3x3(nn.Conv2d):
    """A padded 3x3 convolution with few output channels, after a resize: (B, C, H/4, W/4) to (B, out, H, W).

        return F.conv2d(upsample4(x), self.weight, self.bias, padding=1)

    On CPUs, where H/4 and W/4 are 3 or more, in another form. Between the pixels of x both steps are linear and the
    same everywhere: the 4x4 output pixels of a pixel of x depend on its 3x3 neighborhood alone. So 16 convolutions of
    x, one for each of the 4x4, do the same, without the C channels at full size. At the borders the convolution sees
    zeros where the resize repeats the outermost pixels, which changes the weights of the outermost pixels of x: the
    corners, edges and the interior are nine strips with weights of their own.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.register_buffer("taps", _upsampled_taps(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if use_cpu_kernels(x):
            return self._in_strips(x)
        return super().forward(upsample4(x))

    def _in_strips(self, x: torch.Tensor) -> torch.Tensor:
        # First, inner or last row i and column j of x; phase (a, b) of the 4x4; tap (t, s); neighbor (n, m) in x.
        weights = torch.einsum("iatn,jbsm,octs->ijoabcnm", self.taps, self.taps, self.weight).flatten(2, 4)
        bias = self.bias[:, None].expand(-1, 16).flatten()  # the bias of each channel, 16 times
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        height, width = x.shape[-2:]
        rows = []
        for i, (top, bottom) in enumerate(pairwise((0, 1, height - 1, height))):
            strips = [
                F.conv2d(padded[..., top : bottom + 2, left : right + 2], weights[i, j], bias)
                for j, (left, right) in enumerate(pairwise((0, 1, width - 1, width)))
            ]
            rows.append(torch.cat(strips, dim=-1))
        return F.pixel_shuffle(torch.cat(rows, dim=-2), 4)


def _upsampled_taps() -> torch.Tensor:
    """What the taps of a convolution after a x4 resize see, along one axis: (3, 4, 3, 3).

    Entry [i, a, t, n] is the weight of neighbor n - 1 of a low-resolution pixel in what tap t sees at the a-th of the
    four pixels that come of it. i is 0 for the first, 1 for an inner and 2 for the last pixel of the axis.
    """
    phase, tap, neighbor = torch.meshgrid(torch.arange(4), torch.arange(3), torch.arange(3), indexing="ij")
    position = (phase + tap - 1 - 1.5) / 4  # of what the tap sees, in low-resolution pixels
    taps = (1 - (position - (neighbor - 1)).abs()).clamp_min(0).repeat(3, 1, 1, 1)
    taps[0, 0, 0] = 0  # beyond the borders there are zeros
    taps[2, 3, 2] = 0
    return taps
