"""The detection loss of Yun & Cho (ICCV 2023): boxes of the anchors that ATSS selects, classes of all anchors."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torchvision.ops import box_convert

from losses.atss import match_anchors
from losses.reduction import LossSum
from utils.anchors import anchor_boxes
from utils.boxes import decode, encode, paired_iou
from utils.distributed import all_sum

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss
NEGATIVES_PER_POSITIVE = 3  # hard negatives mined for the cross-entropy


class DetectionLoss(NamedTuple):
    """Sums over the anchors of a batch.

    Attributes:
        box: weighted box loss of the positive anchors.
        classes: class loss of all anchors in images with boxes.
        num_positives: number of positive anchors, by which both sums are divided.
    """

    box: torch.Tensor
    classes: torch.Tensor
    num_positives: torch.Tensor


def detection_loss(prediction: torch.Tensor, batch: dict, **options: str | float | bool) -> LossSum:
    """Box plus class loss per positive anchor; 0 if no process has positive anchors.

    Args:
        prediction, batch, options: see `detection_losses`.
    """
    losses = detection_losses(prediction, batch, **options)
    # Without positives, the loss of the negatives has no divisor.
    total = torch.where(all_sum(losses.num_positives) > 0, losses.box + losses.classes, 0)
    return LossSum(total, losses.num_positives)


def valid_mask(batch: dict) -> torch.Tensor:
    """Mask (B, N) of the boxes in a batch (see `detection_losses`), false for padding.

    It does not depend on positive anchors: an image whose boxes are too small to match any still has ground truth.
    """
    return batch["boxes"][..., 4] > 0


def detection_losses(
    prediction: torch.Tensor,
    batch: dict,
    *,
    cls_loss_type: str = "focal",
    loc_loss_type: str = "IoU",
    iou_aware: bool = True,
    loc_weight: float = 10.0,
) -> DetectionLoss:
    """Box and class losses; images without boxes are excluded.

    Args:
        prediction: (B, A, 4 + C'), box offsets (see `utils.boxes.decode`) and class logits; with ``CE`` the background
            comes first.
        batch: ``boxes`` (B, N, 5) x1, y1, x2, y2, class; class 0 = padding. ``rgb`` (B, 3, H, W), used for its size.
        cls_loss_type: "focal": `sigmoid_focal_loss`, with one sigmoid per class; "CE": `mined_cross_entropy`, with a
            softmax over background and classes.
        loc_loss_type: "IoU": `complete_iou_loss`; "L1": smooth L1 of the offsets.
        iou_aware: use the IoU of the predicted box, instead of 1, as the target of the true class.
        loc_weight: weight of the box loss.
    """
    boxes, size = batch["boxes"].to(prediction.dtype), tuple(batch["rgb"].shape[-2:])
    anchors = anchor_boxes(size, prediction.device).to(prediction.dtype)
    offsets, logits = prediction[..., :4], prediction[..., 4:]
    matched = match_anchors(boxes, size)  # (B, A)
    # (B, A, 5), zeros for background
    matched_boxes = F.pad(boxes, (0, 0, 1, 0)).gather(1, (matched + 1)[..., None].expand(-1, -1, 5))
    labels = matched_boxes[..., 4].long()
    is_positive = labels > 0
    # For background, both prediction and target are the anchor: finite, with zero gradient.
    offsets = torch.where(is_positive[..., None], offsets, 0)
    targets = torch.where(is_positive[..., None], matched_boxes[..., :4], box_convert(anchors, "cxcywh", "xyxy"))
    predicted = decode(offsets, anchors)
    if loc_loss_type == "IoU":
        box_losses = complete_iou_loss(predicted, targets)
    else:
        box_losses = F.smooth_l1_loss(offsets, encode(targets, anchors), reduction="none").sum(-1)
    quality = paired_iou(predicted, targets).detach() if iou_aware else torch.ones_like(box_losses)
    class_loss = sigmoid_focal_loss if cls_loss_type == "focal" else mined_cross_entropy
    class_losses = class_loss(logits, labels, quality)  # (B,)
    return DetectionLoss(
        loc_weight * torch.where(is_positive, box_losses, 0).sum(),
        torch.where(valid_mask(batch).any(1), class_losses, 0).sum(),
        is_positive.sum(),
    )


def complete_iou_loss(predicted: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 - CIoU (...) of each pair of boxes (..., 4) (Zheng et al., AAAI 2020); 0 if they are equal.

        CIoU = IoU - |distance of the centers|^2 / |diagonal of the enclosing box|^2 - a v, clamped to [-1, 1]
        v = 4 / pi^2 (atan(w / h of the target) - atan(w / h))^2
        a = v / (1 - IoU + v) where IoU > 0.5, else 0; constant in the gradient

    torchvision's CIoU has no such threshold on the IoU.
    """
    iou = paired_iou(predicted, targets)
    low, high = torch.minimum(predicted, targets), torch.maximum(predicted, targets)
    diagonal = (high[..., 2:] - low[..., :2]).square().sum(-1)
    # The sum of a box's corners is twice its center.
    distance = (predicted[..., :2] + predicted[..., 2:] - targets[..., :2] - targets[..., 2:]).square().sum(-1) / 4
    angles = [torch.atan2(*(boxes[..., 2:] - boxes[..., :2]).unbind(-1)) for boxes in (predicted, targets)]
    v = 4 / torch.pi**2 * (angles[1] - angles[0]).square()
    with torch.no_grad():
        a = torch.where((iou > 0.5) & (v > 0), v / ((1 - iou).clamp_min(0) + v), 0)
    return 1 - (iou - distance / diagonal - a * v).clamp(-1, 1)


def sigmoid_focal_loss(logits: torch.Tensor, labels: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Sum (B,) of `focal_losses` over anchors and classes; the target of the true class is the quality, others are 0.

    Args:
        logits: (B, A, C), without the background.
        labels: (B, A) int64, 0 = background.
        quality: (B, A), 0 to 1.
    """
    quality = torch.where(labels > 0, quality, 0)
    targets = torch.zeros_like(logits).scatter_(-1, (labels - 1).clamp_min(0)[..., None], quality[..., None])
    return focal_losses(logits, targets).sum((1, 2))


def focal_losses(logits: torch.Tensor, targets: torch.Tensor, threshold: float = 0.0) -> torch.Tensor:
    """alpha |y - p|^2 BCE(p, y) of each logit, with alpha = 0.25 where the target y > `threshold`, else 0.75.

    For targets of 0 and 1 this is the focal loss of Lin et al., ICCV 2017, eq. 5.

    Args:
        logits, targets: tensors of the same shape; targets from 0 to 1.
        threshold: targets above it are weighted as positives.
    """
    alpha = torch.where(targets > threshold, ALPHA, 1 - ALPHA)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return alpha * (targets - logits.sigmoid()).abs() ** GAMMA * entropy


def mined_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Sum (B,) of the cross-entropies of the positive anchors and of the hardest negatives of each image.

    The hardest negatives are the background anchors with the largest losses, three per positive anchor. The target
    of a positive anchor is its quality for the true class; the remainder is spread evenly over all other classes.

    Args:
        logits: (B, A, C), the background first.
        labels: (B, A) int64, 0 = background.
        quality: (B, A), 0 to 1.
    """
    log_p = logits.log_softmax(-1)
    true_class = log_p.gather(-1, labels[..., None])[..., 0]
    others = (log_p.sum(-1) - true_class) / (logits.shape[-1] - 1)
    is_positive = labels > 0
    positives = torch.where(is_positive, -(quality * true_class + (1 - quality) * others), 0).sum(1)
    negatives = torch.where(is_positive, -1, -true_class).sort(descending=True).values  # losses are not negative
    rank = torch.arange(labels.shape[1], device=labels.device)
    is_hard = (rank < NEGATIVES_PER_POSITIVE * is_positive.sum(1, keepdim=True)) & (negatives >= 0)
    return positives + torch.where(is_hard, negatives, 0).sum(1)
