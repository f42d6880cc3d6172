"""Decoders and heads: from the fused bottleneck up to full resolution."""

import torch
import torch.nn.functional as F
from torch import nn

from utils.tasks import MAX_DEPTH

SHARED_CHANNELS = 128  # of the feature that all tasks share, and of each task's preliminary feature


def conv_norm_act(in_channels: int, out_channels: int) -> list[nn.Module]:
    """3x3 convolution, BatchNorm, LeakyReLU: the unit that every decoder is built from."""
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.LeakyReLU(0.01)]


class UpBlock(nn.Module):
    """Resizes to the size of a skip feature, joins the two and convolves twice."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int):
        super().__init__()
        self.net = nn.Sequential(
            *conv_norm_act(in_channels + skip_channels, out_channels), *conv_norm_act(out_channels, out_channels)
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Features (B, in, h, w) and skip (B, skip, H, W): (B, out, H, W)."""
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
        return self.net(torch.cat([x, skip], dim=1))


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


def conv3x3_upsampled4(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """`conv(upsample4(x))` of a 3x3 convolution with few output channels: (B, C, H/4, W/4) to (B, out, H, W).

    The resize treats every channel alike, so the channels can be mixed before it: once for each of the nine taps, at
    the low resolution. What is resized then has 9 * out channels instead of C, and the taps are shifted and added up.
    """
    taps = conv.weight.permute(2, 3, 0, 1).flatten(0, 2)[..., None, None]  # (9 * out, C, 1, 1), row by row
    responses = F.pad(upsample4(F.conv2d(x, taps)), (1, 1, 1, 1)).unflatten(1, (9, -1))  # zeros around, as conv has
    height, width = responses.shape[-2] - 2, responses.shape[-1] - 2
    shifted = [responses[:, i, :, i // 3 : i // 3 + height, i % 3 : i % 3 + width] for i in range(9)]
    return sum(shifted) + conv.bias[:, None, None]


class DepthHead(nn.Module):
    """Depth (B, 1, H, W) in metres, between 0 and 10, from features (B, C, H/4, W/4)."""

    def __init__(self, embed_dim: int, num_classes: int):
        super().__init__()
        self.conv = nn.Conv2d(embed_dim, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return MAX_DEPTH * conv3x3_upsampled4(x, self.conv).float().sigmoid()


class NormalHead(nn.Module):
    """Unit normals (B, 3, H, W) in the camera frame, from features (B, C, H/4, W/4)."""

    def __init__(self, embed_dim: int, num_classes: int):
        super().__init__()
        self.conv = nn.Conv2d(embed_dim, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normal = conv3x3_upsampled4(x, self.conv).float()
        # The paper's n / (|n| + 1e-10), but several times faster than torch's norm over channels.
        return normal * (normal.square().sum(dim=1, keepdim=True) + 1e-20).rsqrt()


class SegmentationHead(nn.Module):
    """Logits (B, K, H, W), from features (B, C, H/4, W/4).

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
        return upsample4(F.conv2d(x, weight, bias))


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


HEADS = {"depth": DepthHead, "normal": NormalHead, "segmentation": SegmentationHead}
INTERMEDIATE_HEADS = {
    "depth": IntermediateDepthHead,
    "normal": IntermediateNormalHead,
    "segmentation": IntermediateSegmentationHead,
}
