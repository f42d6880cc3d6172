"""Semantic segmentation metrics, computed from confusion matrices."""

from dataclasses import replace

import torch

from metrics.breakdown import Breakdown, PixelError
from metrics.protocol import Protocol
from metrics.task_metric import RELEASED, BatchMetrics, TaskMetric
from utils.distributed import all_sum
from utils.tasks import IGNORE_LABEL


def predicted_labels(logits: torch.Tensor) -> torch.Tensor:
    """The most likely class (B, H, W) of logits (B, K, H, W), the first of several."""
    return logits.max(dim=1).indices  # the same as argmax, but several times faster on CPUs


def confusion_matrices(prediction: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Pixel counts (B, K, K) int64 of images: rows are true labels, columns predicted ones; ignored pixels left out.

    Args:
        prediction: labels (B, H, W).
        labels: true ones (B, H, W), -1 = ignore.
        num_classes: K.
    """
    ignored = num_classes**2  # a cell after those of the matrix
    pairs = (labels * num_classes + prediction).masked_fill_(labels == IGNORE_LABEL, ignored).flatten(1)
    counts = pairs.new_zeros(len(pairs), ignored + 1)
    counts.scatter_add_(1, pairs, pairs.new_ones(()).expand_as(pairs))
    return counts[:, :-1].unflatten(1, (num_classes, num_classes))


def class_iou(confusion: torch.Tensor) -> torch.Tensor:
    """Intersection over union (..., K) of each class, from matrices (..., K, K); NaN for a class in neither target nor
    prediction."""
    confusion = confusion.double()
    intersection = confusion.diagonal(dim1=-2, dim2=-1)
    union = confusion.sum(-2) + confusion.sum(-1) - intersection
    return intersection / union


def segmentation_metrics(confusion: torch.Tensor) -> dict[str, float]:
    """Metrics from the confusion matrix (K, K) of a whole dataset; empty if it has no labeled pixel.

    ``mIoU``: mean IoU over the classes that occur in target or prediction; ``pixAcc``: fraction of correct pixels.
    """
    if not confusion.sum():
        return {}
    return {
        "mIoU": class_iou(confusion).nanmean().item(),
        "pixAcc": (confusion.diagonal().sum() / confusion.sum().double()).item(),
    }


def image_metrics(confusion: torch.Tensor) -> torch.Tensor:
    """Metrics (B, 2) float64 from the confusion matrices (B, K, K) of images.

    ``mIoU_per_image``: mean IoU over all K classes, absent ones counting as 0, as the released code
    computes it at its batch size of 1. It hardly ever reaches 1; it serves the comparison with the paper's numbers.
    ``mIoU_occurring``: over the classes that occur in target or prediction of the image; it ranks images.
    """
    iou = class_iou(confusion)
    return torch.stack([iou.nan_to_num(0).mean(-1), iou.nanmean(-1)], dim=1)


class SegmentationMetric(TaskMetric):
    """Segmentation metrics: from one confusion matrix (K, K) of all images, and per image."""

    image_metric_names = ("mIoU_per_image", "mIoU_occurring")
    metric_names = ("mIoU", "pixAcc", *image_metric_names)
    pixel_errors = (PixelError("fraction of wrong labels", ""),)

    def __init__(
        self,
        num_classes: int,
        device: torch.device | str = "cpu",
        with_breakdown: bool = False,
        protocol: Protocol = RELEASED,
    ):
        super().__init__(num_classes, device, with_breakdown, protocol)
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        labels, predicted = batch["semantic"], predicted_labels(prediction)
        confusion = confusion_matrices(predicted, labels, self.num_classes)
        self.confusion += confusion.sum(0)
        profiles = None
        if self.profiles:
            rows = self.profiles.of_rows([predicted != labels], labels != IGNORE_LABEL, batch)
            profiles = self.profiles.of_images([rows])
        return BatchMetrics(image_metrics(confusion), confusion.sum((1, 2)) > 0, profiles)

    def dataset_metrics(self) -> dict[str, float]:
        return segmentation_metrics(all_sum(self.confusion))

    def breakdown(self) -> Breakdown:
        return replace(super().breakdown(), confusion=all_sum(self.confusion).cpu().numpy())
