"""Losses against pseudo labels, the predictions of single-task teachers (Yun & Cho, ICCV 2023): one per task.

Each is a mean over all pixels of the images that use it: those without ground truth, or all. It is added to the loss
against ground truth, which is averaged separately. No gradient reaches the teacher.
"""

import torch
import torch.nn.functional as F
from torch.linalg import vecdot

from losses.detection import focal_losses
from losses.reduction import LossSum
from utils.distributed import all_sum

CONFIDENT = 0.3  # an anchor of the teacher is an object if the probability of its best class is above this


def segmentation_distillation(logits: torch.Tensor, teacher: torch.Tensor, is_used: torch.Tensor) -> LossSum:
    """Mean cross-entropy against the teacher's probabilities: -sum_c softmax(t)_c log p_c.

    Args:
        logits, teacher: (B, K, H, W).
        is_used: which images use the loss, (B,) bool.
    """
    return _masked_images(F.cross_entropy(logits, teacher.detach().softmax(1), reduction="none"), is_used)


def depth_distillation(prediction: torch.Tensor, teacher: torch.Tensor, is_used: torch.Tensor) -> LossSum:
    """Mean smooth L1 of the error e in meters: e^2 / 2 up to 1 m, |e| - 1/2 beyond.

    Args:
        prediction, teacher: (B, 1, H, W) meters.
        is_used: which images use the loss, (B,) bool.
    """
    return _masked_images(F.smooth_l1_loss(prediction, teacher.detach(), reduction="none")[:, 0], is_used)


def normal_distillation(prediction: torch.Tensor, teacher: torch.Tensor, is_used: torch.Tensor) -> LossSum:
    """1 - mean of <prediction, teacher>.

    Args:
        prediction, teacher: (B, 3, H, W) unit vectors.
        is_used: which images use the loss, (B,) bool.
    """
    return _masked_images(1 - vecdot(prediction, teacher.detach(), dim=1), is_used)


def detection_distillation(
    prediction: torch.Tensor, teacher: torch.Tensor, is_used: torch.Tensor, loc_weight: float = 10.0
) -> LossSum:
    """Focal loss against the teacher's probabilities, and smooth L1 of the box offsets of its confident anchors.

    An anchor is confident if the probability of its best class is above 0.3; probabilities above 0.3 are weighted as
    positive targets (see `losses.detection.focal_losses`). Both sums are divided by the number of confident anchors.
    The loss is 0 if no process has any.

    Args:
        prediction, teacher: (B, A, 4 + C), box offsets and class logits, one sigmoid per class.
        is_used: which images use the loss, (B,) bool.
        loc_weight: weight of the smooth L1.
    """
    targets = teacher[..., 4:].detach().sigmoid()
    is_confident = (targets.amax(-1) > CONFIDENT) & is_used[:, None]  # (B, A)
    class_losses = focal_losses(prediction[..., 4:], targets, CONFIDENT).sum(-1)
    box_losses = F.smooth_l1_loss(prediction[..., :4], teacher[..., :4].detach(), reduction="none").sum(-1)
    losses = torch.where(is_used[:, None], class_losses, 0) + loc_weight * torch.where(is_confident, box_losses, 0)
    count = is_confident.sum()
    return LossSum(torch.where(all_sum(count) > 0, losses.sum(), 0), count)


def _masked_images(pixel_losses: torch.Tensor, is_used: torch.Tensor) -> LossSum:
    """The pixel losses (B, H, W) of the images that use them."""
    total = torch.where(is_used[:, None, None], pixel_losses, 0).sum()
    return LossSum(total, is_used.sum() * pixel_losses[0].numel())
