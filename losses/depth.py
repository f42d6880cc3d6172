"""Depth: the reverse Huber (berHu) loss."""

import torch

from losses.reduction import GLOBAL_BATCH, GlobalBatch, TaskLoss, global_mean


def depth_loss(prediction: torch.Tensor, batch: dict, whole: GlobalBatch = GLOBAL_BATCH) -> TaskLoss:
    """berHu over the valid pixels: |e| up to a threshold delta, (e^2 + delta^2) / (2 delta) beyond.

    delta = 0.2 * the largest |e| of the global batch, a constant for the gradient (Laina et al., 3DV 2016).

    Args:
        prediction: (B, 1, H, W) metres.
        batch: ``depth`` (B, 1, H, W) metres and ``depth_mask`` (B, 1, H, W).
        whole: the batch over which the mean is taken.
    """
    mask = batch["depth_mask"]
    error = (prediction[mask] - batch["depth"][mask]).abs()
    largest = error.max() if error.numel() else error.new_zeros(())
    # The floor only matters when every pixel is right, where both branches would divide by zero.
    delta = (0.2 * whole.maximum(largest)).clamp_min(1e-12)
    return global_mean(torch.where(error <= delta, error, (error**2 + delta**2) / (2 * delta)), whole)
