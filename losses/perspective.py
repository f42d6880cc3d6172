"""The dense task losses of Yun & Cho (ICCV 2023), for perspective images.

Each is a mean over the valid pixels of the global batch; without any, both loss and gradient are 0.
"""

import torch
import torch.nn.functional as F
from torch.linalg import vecdot

from losses.reduction import LossSum
from utils.tasks import IGNORE_LABEL


def segmentation_loss(logits: torch.Tensor, batch: dict, label_smoothing: float = 0.0) -> LossSum:
    """Mean cross-entropy over the labeled pixels, with label smoothing s: (1 - s) (-log p_y) + s mean_c(-log p_c).

    Args:
        logits: (B, K, H, W).
        batch: ``semantic`` (B, H, W) labels, -1 = ignore.
        label_smoothing: s, 0 to 1.
    """
    labels = batch["semantic"]
    pixel_losses = F.cross_entropy(
        logits, labels, ignore_index=IGNORE_LABEL, reduction="none", label_smoothing=label_smoothing
    )  # 0 where ignored
    return LossSum(pixel_losses.sum(), (labels != IGNORE_LABEL).sum())


def l1_depth_loss(prediction: torch.Tensor, batch: dict) -> LossSum:
    """Mean absolute error in meters over the valid pixels.

    Args:
        prediction: (B, 1, H, W) meters.
        batch: ``depth`` (B, 1, H, W) meters and ``depth_mask`` (B, 1, H, W), the depths above 0.001 and below 10 m.
    """
    mask = batch["depth_mask"]
    error = torch.where(mask, prediction - batch["depth"], 0).abs()
    return LossSum(error.sum(), mask.sum())


def normal_loss(prediction: torch.Tensor, batch: dict) -> LossSum:
    """1 - mean of <prediction, ground truth> over the valid pixels.

    The ground truth is not normalized: resizing leaves vectors shorter than 1 at edges, which weigh less.

    Args:
        prediction: (B, 3, H, W) unit vectors.
        batch: ``normal`` (B, 3, H, W) and ``normal_mask`` (B, 1, H, W).
    """
    mask = batch["normal_mask"]
    target = torch.where(mask, batch["normal"], 0)
    pixel_losses = torch.where(mask[:, 0], 1 - vecdot(prediction, target, dim=1), 0)
    return LossSum(pixel_losses.sum(), mask.sum())
