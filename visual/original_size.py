"""Resizing predictions for padded and resized images to the size of the original image."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

_CHUNK = 1 << 24  # elements at a time: 64 MiB


def rows_at_original_size(
    prediction: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int]
) -> Iterator[torch.Tensor]:
    """Interpolate the upper left part of a prediction bilinearly; yields chunks (C, ., W) of its H rows.

    Args:
        prediction: (C, h, w) for the padded and resized image.
        size: (H, W) of the original image, the upper left part of the padded image.
        padded_size: (H, W) of the padded image before resizing.
    """
    y, x = (
        (2 * torch.arange(length, device=prediction.device) + 1) / whole - 1
        for length, whole in zip(size, padded_size, strict=True)
    )
    for rows in y.split(max(1, _CHUNK // (len(prediction) * len(x)))):
        grid = torch.stack(torch.meshgrid(x, rows, indexing="xy"), dim=-1)[None]  # (1, rows, W, 2)
        yield F.grid_sample(prediction[None], grid, padding_mode="border", align_corners=False)[0]
