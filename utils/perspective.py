"""Which depths count in images of perspective cameras (NYU Depth v2), in losses and in metrics."""

import torch

from utils.tasks import MAX_DEPTH

MIN_DEPTH = 0.001  # meters


def valid_depth(batch: dict) -> torch.Tensor:
    """Where a batch has a depth strictly between MIN_DEPTH and MAX_DEPTH, (B, 1, H, W) bool.

    Args:
        batch: ``depth`` (B, 1, H, W) meters and ``depth_mask`` (B, 1, H, W).
    """
    depth = batch["depth"]
    return batch["depth_mask"] & (depth > MIN_DEPTH) & (depth < MAX_DEPTH)
