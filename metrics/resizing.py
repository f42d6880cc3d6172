"""Resizing predictions to the size of the ground truth."""

import torch
import torch.nn.functional as F

_CHUNK = 1 << 24  # elements of interpolated logits at a time: 64 MiB


def resized(task: str, prediction: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize the prediction of a task; predictions of this size, and boxes, are returned unchanged.

    Depth and normals are interpolated bilinearly, columns wrapping around; normals are normalized. Logits are
    interpolated likewise and replaced by the most likely class. Labels are resized by nearest neighbor.

    Args:
        task: name of the task.
        prediction: (B, C, h, w) float, labels (B, 1, h, w) int64, or boxes (B, A, .).
        size: (H, W).

    Returns:
        (B, C, H, W), or (B, 1, H, W) int64 for logits.
    """
    if prediction.ndim == 3 or prediction.shape[-2:] == size:
        return prediction
    if not prediction.is_floating_point():
        return _nearest(prediction, size)
    # In chunks of rows: the interpolated logits of large maps with many classes would not fit into memory.
    rows_at_once = max(1, _CHUNK // (prediction.shape[0] * prediction.shape[1] * size[1]))
    finish = {
        "depth": lambda values: values,
        "normal": lambda values: F.normalize(values, dim=1),
        "segmentation": lambda logits: logits.max(dim=1, keepdim=True).indices,
    }[task]
    chunks = _centers(prediction.shape[-2], size[0], prediction).split(rows_at_once)
    return torch.cat([finish(_bilinear(prediction, y, size[1])) for y in chunks], dim=2)


def _bilinear(prediction: torch.Tensor, y: torch.Tensor, width: int) -> torch.Tensor:
    """Values (B, C, n, W) of a prediction (B, C, h, w) at the row coordinates y (n,)."""
    height = prediction.shape[-2]
    y = y.clamp(0, height - 1)
    top = y.floor().long()
    below = (y - top)[:, None].to(prediction.dtype)
    rows = prediction[..., top, :].lerp(prediction[..., (top + 1).clamp_max(height - 1), :], below)
    x = _centers(prediction.shape[-1], width, prediction)
    left = x.floor()
    fraction = (x - left).to(prediction.dtype)
    left = left.long()
    return rows[..., left % prediction.shape[-1]].lerp(rows[..., (left + 1) % prediction.shape[-1]], fraction)


def _nearest(labels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    rows, columns = (
        (_centers(old, new, labels) + 0.5).floor().long() for old, new in zip(labels.shape[-2:], size, strict=True)
    )
    return labels[..., rows[:, None], columns]


def _centers(old: int, new: int, like: torch.Tensor) -> torch.Tensor:
    """Coordinates of the centers of `new` pixels in units of `old` pixels, (new,) float64."""
    return (torch.arange(new, device=like.device, dtype=torch.float64) + 0.5) * (old / new) - 0.5
