"""The depth loss of Elite360M: reverse Huber (berHu)."""

import torch

from losses.reduction import LossSum
from utils.distributed import all_max


def berhu_loss(prediction: torch.Tensor, batch: dict) -> LossSum:
    """berHu over the valid pixels: |e| up to a threshold delta, (e^2 + delta^2) / (2 delta) beyond.

    delta = 0.2 max |e| over the valid pixels of the global batch, constant in the gradient (Laina et al., 3DV 2016).

    Args:
        prediction: (B, 1, H, W) meters.
        batch: ``depth`` (B, 1, H, W) meters and ``depth_mask`` (B, 1, H, W).
    """
    mask = batch["depth_mask"]
    error = torch.where(mask, prediction - batch["depth"], 0).abs()
    # The lower bound avoids a division by zero when all predictions are exact.
    delta = (0.2 * all_max(error.max())).clamp_min(1e-12)
    pixel_losses = torch.where(error <= delta, error, (error**2 + delta**2) / (2 * delta))
    return LossSum(pixel_losses.sum(), mask.sum())
