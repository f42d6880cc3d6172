"""Predictions of a network at the size of an image that was padded and resized for it."""

import numpy as np
import torch
import torch.nn.functional as F

from tasks import TASKS

_CHUNK = 1 << 24  # elements of logits at a time: 64 MiB


def at_own_size(task: str, prediction: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int]) -> np.ndarray:
    """The map of a task, in the format of its display, at the size of the image.

    Depth, normals and logits are interpolated bilinearly; normals are brought to unit length, and labels are chosen
    from interpolated logits.

    Args:
        task: its name.
        prediction: (C, h, w) for the padded and resized image.
        size: (H, W) of the image, the upper left part of the padded one.
        padded_size: of the latter, before it was resized.
    """
    display, averaging = TASKS[task].display, TASKS[task].averaging
    if size == padded_size == prediction.shape[-2:]:
        return display.as_map(prediction)
    y, x = (
        (2 * torch.arange(length, device=prediction.device) + 1) / whole - 1
        for length, whole in zip(size, padded_size, strict=True)
    )
    chunks = []
    for rows in y.split(max(1, _CHUNK // (len(prediction) * len(x)))):
        grid = torch.stack(torch.meshgrid(x, rows, indexing="xy"), dim=-1)[None]  # (1, rows, W, 2)
        values = F.grid_sample(prediction[None], grid, padding_mode="border", align_corners=False)
        chunks.append(display.as_map(averaging.mean(values, 1)[0]))
    return np.concatenate(chunks)
