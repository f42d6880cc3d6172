"""Heads of Elite360M: final ones at full resolution, intermediate ones (for the intermediate losses) at 1/16 of it."""

import torch
import torch.nn.functional as F
from torch import nn

from networks.decoders import SHARED_CHANNELS
from networks.ops.upsampled_conv import UpsampledConv3x3, upsample4
from utils.precision import at_least_float32
from utils.tasks import MAX_DEPTH


class DepthHead(nn.Module):
    """Depth (B, 1, H, W) in meters, between 0 and 10, from features (B, C, H/4, W/4):

    return MAX_DEPTH * F.conv2d(upsample4(x), weight, bias, padding=1).sigmoid()
    """

    def __init__(self, embed_dim: int, num_classes: int):
        super().__init__()
        self.conv = UpsampledConv3x3(embed_dim, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return MAX_DEPTH * at_least_float32(self.conv(x)).sigmoid()


class NormalHead(nn.Module):
    """Unit normals (B, 3, H, W) in the camera frame, from features (B, C, H/4, W/4):

    normal = F.conv2d(upsample4(x), weight, bias, padding=1)
    return normal / (normal.norm(dim=1, keepdim=True) + 1e-10)
    """

    def __init__(self, embed_dim: int, num_classes: int):
        super().__init__()
        self.conv = UpsampledConv3x3(embed_dim, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normal = at_least_float32(self.conv(x))
        # Several times faster than dividing by the norm.
        return normal * (normal.square().sum(dim=1, keepdim=True) + 1e-20).rsqrt()


class SegmentationHead(nn.Module):
    """Logits (B, K, H, W) from features (B, C, H/4, W/4); in training mode (B, K, H/4, W/4), upsampled by the loss.

    The paper's head is a 1x1 convolution to 9K channels, a pixel shuffle by 3 and 3x3 average pooling:

        return F.avg_pool2d(F.pixel_shuffle(self.conv(upsample4(x)), 3), 3)

    All of this is linear: averaging the nine sub-channels of the weights and convolving before the upsampling gives the
    same logits, with 1/9 of the channels on 1/16 of the pixels. The parameters keep the paper's shape.
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
    """Depth (B, 1, h, w) in meters from the preliminary feature."""

    def __init__(self, num_classes: int):
        super().__init__(SHARED_CHANNELS, 1, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return MAX_DEPTH * at_least_float32(super().forward(x)).sigmoid()


class IntermediateNormalHead(nn.Conv2d):
    """Normals (B, 3, h, w), of any length, from the preliminary feature."""

    def __init__(self, num_classes: int):
        super().__init__(SHARED_CHANNELS, 3, kernel_size=1)


class IntermediateSegmentationHead(nn.Conv2d):
    """Logits (B, K, h, w) from the preliminary feature."""

    def __init__(self, num_classes: int):
        super().__init__(SHARED_CHANNELS, num_classes, kernel_size=1)


HEADS = {"depth": DepthHead, "normal": NormalHead, "segmentation": SegmentationHead}
INTERMEDIATE_HEADS = {
    "depth": IntermediateDepthHead,
    "normal": IntermediateNormalHead,
    "segmentation": IntermediateSegmentationHead,
}
