"""Decoders and heads: from the fused bottleneck up to full resolution."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from networks.memory import not_kept
from utils.tasks import MAX_DEPTH

SHARED_CHANNELS = 128  # of the feature that all tasks share, and of each task's preliminary feature


def conv_norm_act(in_channels: int, out_channels: int) -> list[nn.Module]:
    """3x3 convolution, BatchNorm, LeakyReLU: the unit that every decoder is built from."""
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.01, inplace=True),
    ]


class UpBlock(nn.Module):
    """Resizes to the size of a skip feature, joins the two and convolves twice."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.net = nn.Sequential(
            *conv_norm_act(in_channels + skip_channels, out_channels), *conv_norm_act(out_channels, out_channels)
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Features (B, in, h, w) and skip (B, skip, H, W): (B, out, H, W)."""
        joined = resize_and_join(x, skip)
        first, *others = self.net
        with not_kept(joined, resize_and_join, x, skip):
            y = first(joined)
        del joined
        for layer in others:
            y = layer(y)
        return y


def resize_and_join(x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """Features (B, in, h, w) at the size of the skip (B, skip, H, W), and the skip: (B, in + skip, H, W)."""
    x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
    return torch.cat([x, skip], dim=1)


class SharedDecoder(nn.Module):
    """Fused bottleneck (B, C, H/32, W/32) to the feature that all tasks share, (B, 128, H/16, W/16)."""

    def __init__(self, embed_dim: int, skip_channels: int):
        super().__init__()
        self.expand = nn.Conv2d(embed_dim, 512, kernel_size=1)
        self.up = UpBlock(512, skip_channels, 256)
        self.out = nn.Conv2d(256, SHARED_CHANNELS, kernel_size=1)

    def forward(self, fused: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.out(self.up(self.expand(fused), skip))


class TaskDecoder(nn.Module):
    """A task's collaborated feature (B, 256, H/16, W/16) to (B, C, H/4, W/4)."""

    def __init__(self, embed_dim: int, skip_channels: list[int]):
        super().__init__()
        quarter, eighth = skip_channels
        self.ups = nn.ModuleList([UpBlock(2 * SHARED_CHANNELS, eighth, 128), UpBlock(128, quarter, embed_dim)])

    def forward(self, x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        quarter, eighth = skips
        return self.ups[1](self.ups[0](x, eighth), quarter)


def upsample4(x: torch.Tensor) -> torch.Tensor:
    """(B, C, H/4, W/4) to (B, C, H, W), bilinear."""
    return F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


class UpsampledConv3x3(nn.Conv2d):
    """`conv(upsample4(x))` of a padded 3x3 convolution with few output channels: (B, C, H/4, W/4) to (B, out, H, W).

    H/4 and W/4 are 3 or more.

    Between the pixels of x both steps are linear and the same everywhere: the 4x4 pixels that come of a pixel of x
    depend on its 3x3 neighbourhood alone. So 16 convolutions of x, one for each of the 4x4, do the same, without the C
    channels at full size. At the borders the convolution sees zeros where the resize would see the outermost pixels
    again, which changes the weights of the outermost pixels of x.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.register_buffer("taps", _upsampled_taps(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # First, inner or last row i and column j of x; phase (a, b) of the 4x4; tap (t, s); neighbour (n, m) in x.
        weights = torch.einsum("iatn,jbsm,octs->ijoabcnm", self.taps, self.taps, self.weight).flatten(2, 4)
        bias = self.bias.repeat_interleave(16)
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

    Entry [i, a, t, n] is the weight of neighbour n - 1 of a low-resolution pixel in what tap t sees at the a-th of the
    four pixels that come of it. i is 0 for the first, 1 for an inner and 2 for the last pixel of the axis.
    """
    phase, tap, neighbour = torch.meshgrid(torch.arange(4), torch.arange(3), torch.arange(3), indexing="ij")
    position = (phase + tap - 1 - 1.5) / 4  # of what the tap sees, in low-resolution pixels
    taps = (1 - (position - (neighbour - 1)).abs()).clamp_min(0).repeat(3, 1, 1, 1)
    taps[0, 0, 0] = 0  # beyond the borders there are zeros
    taps[2, 3, 2] = 0
    return taps


class DepthHead(nn.Module):
    """Depth (B, 1, H, W) in metres, between 0 and 10, from features (B, C, H/4, W/4)."""

    def __init__(self, embed_dim: int, num_classes: int):
        super().__init__()
        self.conv = UpsampledConv3x3(embed_dim, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return MAX_DEPTH * self.conv(x).float().sigmoid()


class NormalHead(nn.Module):
    """Unit normals (B, 3, H, W) in the camera frame, from features (B, C, H/4, W/4)."""

    def __init__(self, embed_dim: int, num_classes: int):
        super().__init__()
        self.conv = UpsampledConv3x3(embed_dim, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normal = self.conv(x).float()
        # The paper's n / (|n| + 1e-10), but several times faster than torch's norm over channels.
        return normal * (normal.square().sum(dim=1, keepdim=True) + 1e-20).rsqrt()


class SegmentationHead(nn.Module):
    """Logits (B, K, H, W), from features (B, C, H/4, W/4); in training mode (B, K, H/4, W/4), which the loss resizes.

    The paper's head resizes, convolves 1x1 to 9K channels, shuffles them into 3x3 finer pixels and averages those
    again. All of it is linear, so the same logits come from averaging the nine sub-channels in the weights and from
    convolving before the resize, on a sixteenth of the pixels with a ninth of the channels. The parameters keep the
    paper's shape.
    """

    def __init__(self, embed_dim: int, num_classes: int):
        super().__init__()
        self.conv = nn.Conv2d(embed_dim, 9 * num_classes, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.conv.weight.unflatten(0, (-1, 9)).mean(dim=1)  # (K, C, 1, 1)
        bias = self.conv.bias.unflatten(0, (-1, 9)).mean(dim=1)
        logits = F.conv2d(x, weight, bias)
        return logits if self.training else upsample4(logits)


class IntermediateDepthHead(nn.Conv2d):
    """Depth (B, 1, h, w) in metres straight from the preliminary feature."""

    def __init__(self, num_classes: int):
        super().__init__(SHARED_CHANNELS, 1, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return MAX_DEPTH * super().forward(x).float().sigmoid()


class IntermediateNormalHead(nn.Conv2d):
    """Normals (B, 3, h, w), of any length, straight from the preliminary feature."""

    def __init__(self, num_classes: int):
        super().__init__(SHARED_CHANNELS, 3, kernel_size=1)


class IntermediateSegmentationHead(nn.Conv2d):
    """Logits (B, K, h, w) straight from the preliminary feature."""

    def __init__(self, num_classes: int):
        super().__init__(SHARED_CHANNELS, num_classes, kernel_size=1)
