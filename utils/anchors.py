"""Anchor boxes for detection, as in the released code of Yun & Cho (ICCV 2023)."""

from functools import lru_cache

import torch

STRIDES = (8, 16, 32)  # pixels, one per level
BASE = 4  # side of a square anchor, in strides
RATIOS = (1.0, 2.0, 0.5)  # width / height of the anchors of a location, all of the same area


def anchors_per_level(size: tuple[int, int]) -> tuple[int, ...]:
    """Number of anchors on each level, for images of size (H, W)."""
    return tuple(len(RATIOS) * height * width for height, width in _level_sizes(size))


@lru_cache(maxsize=8)
def anchor_boxes(size: tuple[int, int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Anchors (A, 4) float32 for images of size (H, W). The tensor is cached: do not modify it.

    Ordered by level, row, column and ratio. Each is (center x, center y, width, height) as fractions of the image's
    width and height, clamped to 1: no anchor is larger than the image.
    """
    image_height, image_width = size
    ratios = torch.tensor(RATIOS, dtype=torch.float64).sqrt()
    levels = []
    for stride, (height, width) in zip(STRIDES, _level_sizes(size), strict=True):
        boxes = torch.empty(height, width, len(RATIOS), 4, dtype=torch.float64)
        boxes[..., 0] = ((torch.arange(width) + 0.5) * stride / image_width)[None, :, None]
        boxes[..., 1] = ((torch.arange(height) + 0.5) * stride / image_height)[:, None, None]
        boxes[..., 2] = BASE * stride * ratios / image_width
        boxes[..., 3] = BASE * stride / ratios / image_height
        levels.append(boxes.reshape(-1, 4))
    return torch.cat(levels).clamp(max=1).float().to(device)  # (A, 4)


def _level_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Feature map size (h, w) of each level; stride-2 convolutions round up."""
    height, width = size
    return [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
