"""Decoders of Elite360M, from the fused bottleneck to a quarter of the panorama's resolution."""

import torch
import torch.nn.functional as F
from torch import nn

from networks.ops.recompute import checkpointed
from utils.cpu_kernels import use_cpu_kernels

SHARED_CHANNELS = 128  # of the shared feature, and of each task's preliminary feature


def conv_norm_act(in_channels: int, out_channels: int) -> list[nn.Module]:
    """3x3 convolution, BatchNorm, LeakyReLU: the building block of all decoders."""
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.01, inplace=True),
    ]


class UpBlock(nn.Module):
    """Up block: resize to the size of a skip feature, concatenate the two, convolve twice:

    x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
    return self.net(torch.cat([x, skip], dim=1))
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.net = nn.Sequential(
            *conv_norm_act(in_channels + skip_channels, out_channels), *conv_norm_act(out_channels, out_channels)
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Features (B, in, h, w) and skip (B, skip, H, W): (B, out, H, W)."""
        if torch.compiler.is_compiling():  # the compiler decides what to recompute; it would repeat the convolution
            return self.net(torch.cat([resized(x, skip), skip], dim=1))
        # The inputs of both convolutions are recomputed in the backward pass, not stored.
        if use_cpu_kernels(x):
            # Convolve the two separately and add: concatenation would copy them.
            conv = self.net[0]
            weight_x, weight_skip = conv.weight.split([x.shape[1], skip.shape[1]], dim=1)
            x = checkpointed(lambda *inputs: F.conv2d(resized(*inputs), weight_x, conv.bias, padding=1), x, skip)
            x = x.add_(F.conv2d(skip, weight_skip, padding=1))
        else:
            x = checkpointed(lambda *inputs: self.net[0](torch.cat([resized(*inputs), skip], dim=1)), x, skip)
        x = checkpointed(self.net[1:4], x, modules=[self.net[1]])
        return self.net[4:](x)


def resized(x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """Features (B, C, h, w) resized to the size of `skip` (B, _, H, W): (B, C, H, W)."""
    return F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)


class SharedDecoder(nn.Module):
    """Decodes the fused bottleneck (B, C, H/32, W/32) to the shared feature (B, 128, H/16, W/16)."""

    def __init__(self, embed_dim: int, skip_channels: int):
        super().__init__()
        self.expand = nn.Conv2d(embed_dim, 512, kernel_size=1)
        self.up = UpBlock(512, skip_channels, 256)
        self.out = nn.Conv2d(256, SHARED_CHANNELS, kernel_size=1)

    def forward(self, fused: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.out(self.up(self.expand(fused), skip))


class TaskDecoder(nn.Module):
    """Decodes a task's feature after CoCo (B, 256, H/16, W/16) to (B, C, H/4, W/4)."""

    def __init__(self, embed_dim: int, skip_channels: list[int]):
        super().__init__()
        quarter, eighth = skip_channels
        self.ups = nn.ModuleList([UpBlock(2 * SHARED_CHANNELS, eighth, 128), UpBlock(128, quarter, embed_dim)])

    def forward(self, x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        quarter, eighth = skips
        return self.ups[1](self.ups[0](x, eighth), quarter)
