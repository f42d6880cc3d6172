"""Semantic segmentation figures, all from confusion matrices."""

import torch

from metrics.task_metric import TaskMetric
from utils.distributed import all_sum
from utils.tasks import IGNORE_LABEL


def confusion_matrix(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Pixel counts (K, K) int64 of one image: rows are true labels, columns predicted ones; ignored pixels left out.

    Args:
        logits: (K, H, W).
        labels: (H, W), -1 = ignore.
    """
    num_classes = len(logits)
    known = labels != IGNORE_LABEL
    pairs = labels[known] * num_classes + logits.argmax(dim=0)[known]
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def class_iou(confusion: torch.Tensor) -> torch.Tensor:
    """Intersection over union (K,) of each class; NaN for a class in neither truth nor prediction."""
    confusion = confusion.double()
    intersection = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - intersection
    return intersection / union


def segmentation_metrics(confusion: torch.Tensor) -> dict[str, float]:
    """The field's figures from the confusion matrix (K, K) of a whole set; empty when it has no labelled pixel.

    ``mIoU``: mean IoU over the classes that occur, in truth or prediction; ``pixAcc``: share of pixels that are right.
    """
    if not confusion.sum():
        return {}
    return {
        "mIoU": class_iou(confusion).nanmean().item(),
        "pixAcc": (confusion.diagonal().sum() / confusion.sum().double()).item(),
    }


def image_miou(confusion: torch.Tensor) -> dict[str, float]:
    """``mIoU_per_image`` from the confusion matrix of one image; empty when it has no labelled pixel.

    Mean IoU over all K classes, those that do not occur counting 0: what the released program computes at its batch
    size of 1. It can never reach 1; its use is to be set beside the paper's figures.
    """
    if not confusion.sum():
        return {}
    return {"mIoU_per_image": class_iou(confusion).nan_to_num(0).mean().item()}


class SegmentationMetric(TaskMetric):
    """One confusion matrix of all images, (K, K), and the per-image mIoU."""

    def __init__(self, num_classes: int, device: torch.device | str = "cpu"):
        super().__init__(num_classes, device)
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def image_figures(self, prediction: torch.Tensor, batch: dict, i: int) -> dict[str, float]:
        confusion = confusion_matrix(prediction, batch["semantic"][i])
        self.confusion += confusion
        return image_miou(confusion)

    def set_figures(self) -> dict[str, float]:
        return segmentation_metrics(all_sum(self.confusion))
