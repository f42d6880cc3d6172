"""Semantic segmentation: cross-entropy."""

import torch
import torch.nn.functional as F

from losses.reduction import GLOBAL_BATCH, GlobalBatch, TaskLoss, global_mean
from utils.tasks import IGNORE_LABEL


def segmentation_loss(prediction: torch.Tensor, batch: dict, whole: GlobalBatch = GLOBAL_BATCH) -> TaskLoss:
    """Mean cross-entropy over the labelled pixels.

    Args:
        prediction: (B, K, H, W) logits.
        batch: ``semantic`` (B, H, W) labels, -1 = ignore.
        whole: the batch over which the mean is taken.
    """
    labels = batch["semantic"]
    pixel_losses = F.cross_entropy(prediction, labels, ignore_index=IGNORE_LABEL, reduction="none")
    return global_mean(pixel_losses[labels != IGNORE_LABEL], whole)
