"""Upsampling of predictions to the size of a panorama, guided by its colors.

A network predicts at its own size h x w. A pixel of the larger panorama gets a weighted mean of the four nearest pixels
of the prediction: bilinear weights, times the similarity of the 8-bit RGB colors, exp(-|difference|^2 / (2 * 12^2))
(joint bilateral upsampling, Kopf et al. 2007, with two by two pixels). For depth and normals, only neighbors on the
same surface as the one with the largest weight are averaged, as the mean of two surfaces lies on neither.
docs/predict.md compares it with other methods.
"""

from collections.abc import Callable

import numpy as np
import torch

from tasks import TASKS

_COLOR_SIGMA = 12.0  # of 8-bit RGB
_DEPTH_RATIO = 1.2  # depths on one surface differ by a smaller factor
_NORMAL_COSINE = 0.9  # normals on one surface differ by less than 26 degrees
_CHUNK = 1 << 22  # elements of four neighbors in the largest map at a time: 16 MiB

# Which of four values (4, C, h, w) are on the surface of a reference (1, C, h, w), as (4, h, w) bool.
_SAME_SURFACE: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "depth": lambda values, ref: ((values < _DEPTH_RATIO * ref) & (ref < _DEPTH_RATIO * values))[:, 0],
    "normal": lambda values, ref: (values * ref).sum(1) > _NORMAL_COSINE,
}


def at_panorama_size(
    predictions: dict[str, torch.Tensor], network_rgb: np.ndarray, rgb: np.ndarray
) -> dict[str, np.ndarray]:
    """Enlarge predictions to maps at the size of a panorama, in the format of the tasks' displays; columns wrap around.

    Args:
        predictions: per task, (C, h, w).
        network_rgb: (h, w, 3) uint8, the input of the network.
        rgb: (H, W, 3) uint8, the panorama.
    """
    if rgb.shape == network_rgb.shape:
        return {task: TASKS[task].display.as_map(prediction) for task, prediction in predictions.items()}
    device = next(iter(predictions.values())).device
    max_channels = max(len(prediction) for prediction in predictions.values())
    guide = torch.from_numpy(network_rgb).to(device).permute(2, 0, 1).float()  # (3, h, w)
    maps: dict[str, np.ndarray] = {}  # preallocated: joining chunks would fragment the memory
    for rows in torch.arange(len(rgb)).split(max(1, _CHUNK // (4 * max_channels * rgb.shape[1]))):
        colors = torch.from_numpy(rgb[rows[0] : rows[-1] + 1]).to(device).permute(2, 0, 1).float()
        neighbors, weights = _neighbors(guide, colors, rows.to(device), len(rgb))
        for task, prediction in predictions.items():
            values = torch.stack([prediction[:, row][:, :, column] for row, column in neighbors])  # (4, C, rows, W)
            mean = TASKS[task].averaging.mean(_weighted_mean(task, values, weights)[None], 1)[0]
            chunk = TASKS[task].display.as_map(mean)
            if task not in maps:
                maps[task] = np.empty((len(rgb), *chunk.shape[1:]), chunk.dtype)
            maps[task][rows[0] : rows[-1] + 1] = chunk
    return maps


def _neighbors(
    guide: torch.Tensor, colors: torch.Tensor, rows: torch.Tensor, height: int
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
    """Rows (n,) and columns (W,) of the four nearest pixels of the prediction, and their weights (4, n, W).

    Args:
        guide: (3, h, w), colors at the size of the prediction.
        colors: (3, n, W), colors of n rows of the panorama.
        rows: (n,), indices of these rows.
        height: H of the panorama.
    """
    (h, w), width = guide.shape[-2:], colors.shape[-1]
    y = (rows + 0.5) * h / height - 0.5
    x = (torch.arange(width, device=rows.device) + 0.5) * w / width - 0.5
    top, left = y.floor(), x.floor()
    neighbors, weights = [], []
    for row in (top, top + 1):
        for column in (left, left + 1):
            at = (row.clamp(0, h - 1).long(), column.long() % w)
            distance = (guide[:, at[0]][:, :, at[1]] - colors).square().sum(0)
            bilinear = (1 - (row - y).abs())[:, None] * (1 - (column - x).abs())
            neighbors.append(at)
            weights.append(bilinear.log() - distance / (2 * _COLOR_SIGMA**2))
    return neighbors, torch.stack(weights).softmax(0)  # does not underflow if no color is similar


def _weighted_mean(task: str, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The weighted mean (C, n, W) of values (4, C, n, W), restricted to one surface; weights are (4, n, W)."""
    if task in _SAME_SURFACE:
        largest = weights.argmax(0, keepdim=True)[:, None]  # (1, 1, n, W)
        weights = weights * _SAME_SURFACE[task](values, values.take_along_dim(largest, 0))
    weights = weights / weights.sum(0)
    return (values * weights[:, None]).sum(0)
