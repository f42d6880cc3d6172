"""Common parts of the networks for perspective images, DeepLab and VMM."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from utils.colors import IMAGENET_MEAN, IMAGENET_STD
from utils.precision import at_least_float32


class PerspectiveNetwork(nn.Module):
    """Base class of networks with an ImageNet backbone and a head per task."""

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("rgb_mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("rgb_std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def normalize(self, rgb: torch.Tensor) -> torch.Tensor:
        """Normalize colors in [0, 1], (B, 3, H, W), for the backbone."""
        return (rgb - self.rgb_mean) / self.rgb_std


class DenseHead(nn.Sequential):
    """Predictions (B, out, H, W) at the size of the image, from features (B, C, h, w)."""

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return resize(at_least_float32(super().forward(x)), size)


class NormalHead(DenseHead):
    """Unit normals (B, 3, H, W)."""

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return F.normalize(super().forward(x, size), dim=1)


def build_dense_head(task: str, num_classes: int, build_layers: Callable[[int], list[nn.Module]]) -> DenseHead:
    """Build the head of a dense task.

    Args:
        task: depth, normal or segmentation.
        num_classes: K, the number of semantic classes.
        build_layers: returns the layers for a number of output channels.
    """
    channels = {"depth": 1, "normal": 3, "segmentation": num_classes}[task]
    head = NormalHead if task == "normal" else DenseHead
    return head(*build_layers(channels))


def resize(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize (B, C, h, w) bilinearly to `size` (H, W): (B, C, H, W)."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
