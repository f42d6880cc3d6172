"""What networks for images of perspective cameras have in common."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from utils.colors import IMAGENET_MEAN, IMAGENET_STD
from utils.precision import at_least_float32


class PerspectiveNetwork(nn.Module):
    """A network with a head per task, in the order of the tasks, on a backbone with ImageNet weights."""

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("rgb_mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("rgb_std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def normalize(self, rgb: torch.Tensor) -> torch.Tensor:
        """What the backbone takes (B, 3, H, W), from colors in [0, 1]."""
        return (rgb - self.rgb_mean) / self.rgb_std


class DenseHead(nn.Sequential):
    """Predictions (B, out, H, W) of the image's size, from features (B, C, h, w)."""

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return resize(at_least_float32(super().forward(x)), size)


class NormalHead(DenseHead):
    """Unit normals (B, 3, H, W)."""

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return F.normalize(super().forward(x, size), dim=1)


def build_dense_head(task: str, num_classes: int, build_layers: Callable[[int], list[nn.Module]]) -> DenseHead:
    """The head of depth, normal or segmentation.

    Args:
        task: its name.
        num_classes: K.
        build_layers: from the number of output channels to the layers.
    """
    channels = {"depth": 1, "normal": 3, "segmentation": num_classes}[task]
    head = NormalHead if task == "normal" else DenseHead
    return head(*build_layers(channels))


def resize(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(B, C, h, w) at another size (H, W), bilinearly."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
