"""Semantic segmentation metrics, computed from confusion matrices."""

from dataclasses import replace

import torch

from metrics.breakdown import Breakdown, PixelError
from metrics.constants import integer_solid_angles
from metrics.protocol import SOLID_ANGLE
from metrics.task_metric import BatchMetrics, TaskMetric, with_solid_angle
from utils.distributed import all_sum
from utils.tasks import IGNORE_LABEL


def predicted_labels(logits: torch.Tensor) -> torch.Tensor:
    """Labels (B, H, W): the most likely class of logits (B, K, H, W), or the given labels (B, 1, H, W)."""
    if not logits.is_floating_point():
        return logits[:, 0]
    return logits.max(dim=1).indices  # the same as argmax, but several times faster on CPUs


def confusion_matrices(
    prediction: torch.Tensor, labels: torch.Tensor, num_classes: int, row_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Confusion matrices (B, K, K) int64 of images: pixel counts, rows ground truth and columns predictions.

    Args:
        prediction: labels (B, H, W).
        labels: ground truth labels (B, H, W), -1 = ignore.
        num_classes: K.
        row_weights: weights of the pixels of each row, (H,) int64; None: 1.
    """
    ignored = num_classes**2  # an additional cell after those of the matrix
    pairs = (labels * num_classes + prediction).masked_fill_(labels == IGNORE_LABEL, ignored).flatten(1)
    counts = pairs.new_zeros(len(pairs), ignored + 1)
    weights = pairs.new_ones(()) if row_weights is None else row_weights[:, None].expand(labels.shape[1:]).flatten()
    counts.scatter_add_(1, pairs, weights.expand_as(pairs))
    return counts[:, :-1].unflatten(1, (num_classes, num_classes))


def class_iou(confusion: torch.Tensor) -> torch.Tensor:
    """IoU (..., K) from confusion matrices (..., K, K); NaN for classes in neither target nor prediction."""
    confusion = confusion.double()
    intersection = confusion.diagonal(dim1=-2, dim2=-1)
    union = confusion.sum(-2) + confusion.sum(-1) - intersection
    return intersection / union


def segmentation_metrics(confusion: torch.Tensor) -> dict[str, float]:
    """Metrics from the confusion matrix (K, K) of a dataset; empty without labeled pixels.

    ``mIoU``: mean IoU over the classes that occur in target or prediction; ``pixAcc``: fraction of correct pixels;
    ``mAcc``: fraction of correct pixels of each class, averaged over the classes that occur in the target; ``fwIoU``:
    mean IoU, weighted by the frequency of the classes in the target.
    """
    if not confusion.sum():
        return {}
    iou, target_counts, correct = class_iou(confusion), confusion.sum(1).double(), confusion.diagonal()
    return {
        "mIoU": iou.nanmean().item(),
        "pixAcc": (correct.sum() / target_counts.sum()).item(),
        "mAcc": (correct / target_counts).nanmean().item(),
        "fwIoU": ((iou.nan_to_num(0) * target_counts).sum() / target_counts.sum()).item(),
    }


def image_metrics(confusion: torch.Tensor) -> torch.Tensor:
    """Metrics (B, 2) float64 from the confusion matrices (B, K, K) of images.

    ``mIoU_per_image``: mean IoU over all K classes, absent ones counting as 0, as in the released code with its batch
    size of 1. It hardly ever reaches 1 and only serves for comparison with the paper's numbers.
    ``mIoU_occurring``: mean IoU over the classes that occur in target or prediction of the image; reports rank images
    by it.
    """
    iou = class_iou(confusion)
    return torch.stack([iou.nan_to_num(0).mean(-1), iou.nanmean(-1)], dim=1)


class SegmentationMetric(TaskMetric):
    """Segmentation metrics per image, and from confusion matrices (K, K) of all images, of pixels and solid angles."""

    image_metric_names = ("mIoU_per_image", "mIoU_occurring")
    metric_names = (*with_solid_angle(("mIoU", "pixAcc", "mAcc", "fwIoU")), *image_metric_names)
    pixel_errors = (PixelError("fraction of wrong labels", ""),)

    def set_up(self) -> None:
        self.confusion = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64, device=self.device)
        self.confusion_by_solid_angle = torch.zeros_like(self.confusion)

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        labels, predicted = batch["semantic"], predicted_labels(prediction)
        confusion = confusion_matrices(predicted, labels, self.num_classes)
        self.confusion += confusion.sum(0)
        weights = integer_solid_angles(*labels.shape[1:], labels.device)
        self.confusion_by_solid_angle += confusion_matrices(predicted, labels, self.num_classes, weights).sum(0)
        profiles = None
        if self.profiles:
            rows = self.profiles.row_sums([predicted != labels], labels != IGNORE_LABEL, batch)
            profiles = self.profiles.image_sums([rows])
        return BatchMetrics(image_metrics(confusion), confusion.sum((1, 2)) > 0, profiles)

    def dataset_metrics(self) -> dict[str, float]:
        by_solid_angle = segmentation_metrics(all_sum(self.confusion_by_solid_angle))
        return segmentation_metrics(all_sum(self.confusion)) | {
            name + SOLID_ANGLE: value for name, value in by_solid_angle.items()
        }

    def breakdown(self) -> Breakdown:
        return replace(super().breakdown(), confusion=all_sum(self.confusion).cpu().numpy())
