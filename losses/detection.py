"""The detection loss of Yun & Cho (ICCV 2023): boxes of the anchors that ATSS selects, and classes of all anchors."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torchvision.ops import box_convert

from losses.atss import match_anchors
from losses.reduction import PixelLoss
from utils.anchors import anchor_boxes
from utils.boxes import decode, encode, paired_iou
from utils.distributed import all_sum

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss
NEGATIVES_PER_POSITIVE = 3  # of cross-entropy


class DetectionLoss(NamedTuple):
    """Sums over the anchors of a batch that count.

    Attributes:
        box: of the positive anchors, with its weight.
        classes: of all anchors of images with boxes.
        num_positives: by which both are to be divided.
    """

    box: torch.Tensor
    classes: torch.Tensor
    num_positives: torch.Tensor


def detection_loss(prediction: torch.Tensor, batch: dict, **options: str | float | bool) -> PixelLoss:
    """Box and class loss divided by the number of positive anchors. 0 if there are none in any process.

    Args:
        prediction, batch, options: see `detection_losses`.
    """
    losses = detection_losses(prediction, batch, **options)
    # Without any, the negatives would not be divided by anything.
    total = torch.where(all_sum(losses.num_positives) > 0, losses.box + losses.classes, 0)
    return PixelLoss(total, losses.num_positives)


def valid_mask(batch: dict) -> torch.Tensor:
    """The boxes, (B, N) bool, of a batch as in `detection_losses`: false for padding.

    Not the positive anchors: an image of boxes that match none, being tiny, has ground truth.
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
    """Box and class losses. Images without boxes do not count.

    Args:
        prediction: (B, A, 4 + C'), offsets (see `utils.boxes.decode`) and logits, for ``CE`` with the background first.
        batch: ``boxes`` (B, N, 5) x1, y1, x2, y2, class; class 0 = padding. ``rgb`` (B, 3, H, W), for its size.
        cls_loss_type: "focal", `sigmoid_focal_loss` with one sigmoid per class; or "CE", `mined_cross_entropy` with a
            softmax over classes and background.
        loc_loss_type: "IoU", `complete_iou_loss`; or "L1", smooth L1 of the offsets.
        iou_aware: whether the target of the true class is the IoU of the predicted box instead of 1.
        loc_weight: of the box loss.
    """
    boxes, size = batch["boxes"].to(prediction.dtype), tuple(batch["rgb"].shape[-2:])
    anchors = anchor_boxes(size, prediction.device).to(prediction.dtype)
    offsets, logits = prediction[..., :4], prediction[..., 4:]
    matched = match_anchors(boxes, size)  # (B, A)
    rows = F.pad(boxes, (0, 0, 1, 0)).gather(1, (matched + 1)[..., None].expand(-1, -1, 5))  # zeros for background
    labels = rows[..., 4].long()
    is_positive = labels > 0
    # The background gets its anchor as prediction and target: finite, and without a gradient.
    offsets = torch.where(is_positive[..., None], offsets, 0)
    targets = torch.where(is_positive[..., None], rows[..., :4], box_convert(anchors, "cxcywh", "xyxy"))
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
        torch.where((boxes[..., 4] > 0).any(1), class_losses, 0).sum(),
        is_positive.sum(),
    )


def complete_iou_loss(predicted: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 - CIoU (...) of each pair of boxes (..., 4) (Zheng et al., AAAI 2020), 0 if they are equal.

    CIoU = IoU - |distance of the centers|^2 / |diagonal of the enclosing box|^2 - a v, clamped to [-1, 1], with
    v = 4 / pi^2 (atan(w / h of the target) - atan(w / h))^2 and, where IoU > 0.5, else 0, a = v / (1 - IoU + v), which
    is a constant for the gradient. torchvision's has an `a` for all IoUs.
    """
    iou = paired_iou(predicted, targets)
    low, high = torch.minimum(predicted, targets), torch.maximum(predicted, targets)
    diagonal = (high[..., 2:] - low[..., :2]).square().sum(-1)
    # Differences of sums of corners are twice those of the centers.
    distance = (predicted[..., :2] + predicted[..., 2:] - targets[..., :2] - targets[..., 2:]).square().sum(-1) / 4
    angles = [torch.atan2(*(boxes[..., 2:] - boxes[..., :2]).unbind(-1)) for boxes in (predicted, targets)]
    v = 4 / torch.pi**2 * (angles[1] - angles[0]).square()
    with torch.no_grad():
        a = torch.where((iou > 0.5) & (v > 0), v / ((1 - iou).clamp_min(0) + v), 0)
    return 1 - (iou - distance / diagonal - a * v).clamp(-1, 1)


def sigmoid_focal_loss(logits: torch.Tensor, labels: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Sums (B,) of `focal_losses` over anchors and classes, with the quality as target of the right class, else 0.

    Args:
        logits: (B, A, C), without the background.
        labels: (B, A) int64, 0 = background.
        quality: (B, A), 0 to 1.
    """
    quality = torch.where(labels > 0, quality, 0)
    targets = torch.zeros_like(logits).scatter_(-1, (labels - 1).clamp_min(0)[..., None], quality[..., None])
    return focal_losses(logits, targets).sum((1, 2))


def focal_losses(logits: torch.Tensor, targets: torch.Tensor, above: float = 0.0) -> torch.Tensor:
    """alpha |y - p|^2 BCE(p, y) of each logit, with alpha = 0.25 where the target y > `above`, else 0.75.

    For y = 0 and 1 that is the focal loss of Lin et al., ICCV 2017.

    Args:
        logits, targets: of the same shape.
    """
    alpha = torch.where(targets > above, ALPHA, 1 - ALPHA)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return alpha * (targets - logits.sigmoid()).abs() ** GAMMA * entropy


def mined_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Sums (B,) of cross-entropies over the positive anchors and, per image, three times as many of the background.

    The latter are those with the largest losses. The target of a positive anchor is its quality for the right class,
    and the rest in equal parts for all others.

    Args:
        logits: (B, A, C), the background first.
        labels: (B, A) int64, 0 = background.
        quality: (B, A), 0 to 1.
    """
    log_p = logits.log_softmax(-1)
    right = log_p.gather(-1, labels[..., None])[..., 0]
    others = (log_p.sum(-1) - right) / (logits.shape[-1] - 1)
    is_positive = labels > 0
    positives = torch.where(is_positive, -(quality * right + (1 - quality) * others), 0).sum(1)
    negatives = torch.where(is_positive, -1, -right).sort(descending=True).values  # losses are not negative
    rank = torch.arange(labels.shape[1], device=labels.device)
    is_hard = (rank < NEGATIVES_PER_POSITIVE * is_positive.sum(1, keepdim=True)) & (negatives >= 0)
    return positives + torch.where(is_hard, negatives, 0).sum(1)
