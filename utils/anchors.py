"""Anchor boxes of detection, as in the released code of Yun & Cho (ICCV 2023)."""

from functools import lru_cache

import torch

STRIDES = (8, 16, 32)  # of the levels, in pixels
BASE = 4  # side of a square anchor, in strides
RATIOS = (1.0, 2.0, 0.5)  # width / height of the anchors of a location, all of the same area


def anchors_per_level(size: tuple[int, int]) -> tuple[int, ...]:
    """The number of anchors on each level, for images of this size (H, W)."""
    return tuple(len(RATIOS) * height * width for height, width in _level_sizes(size))


@lru_cache(maxsize=8)
def anchor_boxes(size: tuple[int, int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Anchors (A, 4) for images of this size (H, W), float32. The tensor is cached: do not change it.

    Level by level, row by row, the RATIOS of a location together. Each is (center x, center y, width, height), x in
    widths and y in heights of the image, and none above 1: anchors larger than the image are as large as it.
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
    """(h, w) of the feature of each level: convolutions of stride 2 round up."""
    height, width = size
    return [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
