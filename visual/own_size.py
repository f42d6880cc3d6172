"""Predictions of a network for an image that was padded and resized for it, at the size of the image."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

_CHUNK = 1 << 24  # elements at a time: 64 MiB


def rows_at_own_size(
    prediction: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int]
) -> Iterator[torch.Tensor]:
    """The upper left part of a prediction, interpolated bilinearly: some rows (C, ., W) at a time, H together.

    Args:
        prediction: (C, h, w) for the padded and resized image.
        size: (H, W) of the image, the upper left part of the padded one.
        padded_size: of the latter, before it was resized.
    """
    y, x = (
        (2 * torch.arange(length, device=prediction.device) + 1) / whole - 1
        for length, whole in zip(size, padded_size, strict=True)
    )
    for rows in y.split(max(1, _CHUNK // (len(prediction) * len(x)))):
        grid = torch.stack(torch.meshgrid(x, rows, indexing="xy"), dim=-1)[None]  # (1, rows, W, 2)
        yield F.grid_sample(prediction[None], grid, padding_mode="border", align_corners=False)[0]
