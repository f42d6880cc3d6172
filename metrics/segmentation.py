"""Semantic segmentation metrics, computed from confusion matrices."""

from dataclasses import replace

import torch

from metrics.breakdown import Breakdown, PixelError
from metrics.task_metric import TaskMetric
from utils.distributed import all_sum
from utils.tasks import IGNORE_LABEL


def confusion_matrix(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Pixel counts (K, K) int64 of one image: rows are ground truth, columns predictions; ignored pixels are excluded.

    Args:
        logits: (K, H, W).
        labels: (H, W), -1 = ignore.
    """
    return count_pairs(logits.argmax(dim=0), labels, len(logits))


def count_pairs(prediction: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """As `confusion_matrix`, from predicted labels (H, W)."""
    known = labels != IGNORE_LABEL
    pairs = labels[known] * num_classes + prediction[known]
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def class_iou(confusion: torch.Tensor) -> torch.Tensor:
    """Intersection over union (K,) of each class; NaN for a class in neither target nor prediction."""
    confusion = confusion.double()
    intersection = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - intersection
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


def image_miou(confusion: torch.Tensor) -> dict[str, float]:
    """Metrics from the confusion matrix of one image; empty if it has no labeled pixel.

    ``mIoU_per_image``: mean IoU over all K classes, absent ones counting as 0, as the released program
    computes it at its batch size of 1. It hardly ever reaches 1; it serves the comparison with the paper's numbers.
    ``mIoU_occurring``: over the classes that occur in target or prediction of the image; it ranks images.
    """
    if not confusion.sum():
        return {}
    iou = class_iou(confusion)
    return {"mIoU_per_image": iou.nan_to_num(0).mean().item(), "mIoU_occurring": iou.nanmean().item()}


class SegmentationMetric(TaskMetric):
    """Segmentation metrics: from one confusion matrix (K, K) of all images, and per image."""

    metric_names = ("mIoU", "pixAcc", "mIoU_per_image", "mIoU_occurring")
    pixel_errors = (PixelError("fraction of wrong labels", ""),)

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", with_breakdown: bool = False):
        super().__init__(num_classes, device, with_breakdown)
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def image_metrics(self, prediction: torch.Tensor, batch: dict, i: int) -> dict[str, float]:
        labels, predicted = batch["semantic"][i], prediction.argmax(dim=0)
        confusion = count_pairs(predicted, labels, self.num_classes)
        self.confusion += confusion
        if self.profiles:
            known = labels != IGNORE_LABEL
            wrong = predicted[known] != labels[known]
            self.profiles.add(wrong.double()[None], known[None], batch, i)
        return image_miou(confusion)

    def dataset_metrics(self) -> dict[str, float]:
        return segmentation_metrics(all_sum(self.confusion))

    def breakdown(self) -> Breakdown:
        return replace(super().breakdown(), confusion=all_sum(self.confusion).cpu().numpy())
