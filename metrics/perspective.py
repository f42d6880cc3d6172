"""Metrics of perspective images, as in Yun & Cho, ICCV 2023.

Each metric is averaged in two ways. Per image: over the valid pixels of each image, then over images. Per pixel: over
the valid pixels of all images together. A name without a suffix is the metric of the released code, which is per pixel
for depth and segmentation and per image for normals; the other one ends in ``_per_image`` or ``_per_pixel``.

Everything is computed with masks on the device of the predictions, so that nothing waits for a GPU.
"""

from abc import abstractmethod

import torch
from torch.linalg import vecdot

from metrics.pooling import add_angles, angle_histogram, histogram_median
from metrics.protocol import PER_PIXEL
from metrics.segmentation import confusion_matrices, predicted_labels
from metrics.task_metric import BatchMetrics, TaskMetric
from utils.distributed import all_sum
from utils.tasks import MAX_DEPTH

MIN_DEPTH = 0.001  # meters: predictions are clamped to MIN_DEPTH .. MAX_DEPTH
PER_IMAGE = "_per_image"

PROTOCOL = {
    "depth": "meters; 0.001 < ground truth < 10 m, predictions clamped to [0.001, 10] m; natural logarithms; all valid "
    "pixels of the set together; no crop, no alignment",
    "normal": "degrees, and fractions of pixels below 11.25, 22.5 and 30 degrees; mean over images of the metric over "
    "valid pixels; lower median",
    "segmentation": "mIoU over all classes (absent ones count as 0) and pixAcc, from one confusion matrix of the whole "
    "set",
    PER_IMAGE: "the same metric, as mean over images of the metric over valid pixels",
    PER_PIXEL: "the same metric over all valid pixels of the set together (the median to 0.001 degrees)",
}


class PerspectiveMetric(TaskMetric):
    """Evaluates the predictions of one task, see `TaskMetric`; there are no breakdowns.

    Attributes:
        image_metric_names: names of the metrics that are averaged over images.
        dataset_metric_names: names of the metrics of all pixels together.
    """

    dataset_metric_names: tuple[str, ...]

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all metrics."""
        return (*self.dataset_metric_names, *self.image_metric_names)

    @abstractmethod
    def dataset_metrics(self) -> dict[str, float]:
        """Metrics of all pixels so far, of all processes; empty without ground truth."""


class SegmentationMetric(PerspectiveMetric):
    """Mean IoU over all K classes, and the fraction of correct pixels.

    As in the released code, the IoU of a class in neither ground truth nor predictions counts as 0, so that mIoU cannot
    reach 1 unless all classes occur.
    """

    dataset_metric_names = ("mIoU", "pixAcc")
    image_metric_names = tuple(name + PER_IMAGE for name in dataset_metric_names)

    def set_up(self) -> None:
        self.confusion = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64, device=self.device)

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        confusion = confusion_matrices(predicted_labels(prediction), batch["semantic"], self.num_classes)
        self.confusion += confusion.sum(0)
        return BatchMetrics(segmentation_metrics(confusion), confusion.sum((1, 2)) > 0)

    def dataset_metrics(self) -> dict[str, float]:
        confusion = all_sum(self.confusion)
        return _named(self.dataset_metric_names, segmentation_metrics(confusion), confusion.sum())


class DepthMetric(PerspectiveMetric):
    """Errors of depth, see `depth_errors` and `depth_metrics`."""

    dataset_metric_names = ("d1", "d2", "d3", "rms", "log_rms", "abs_rel", "sq_rel", "log10", "si_log")
    image_metric_names = tuple(name + PER_IMAGE for name in dataset_metric_names)

    def set_up(self) -> None:
        self._sums = torch.zeros(len(self.dataset_metric_names), dtype=torch.float64, device=self.device)
        self._count = torch.zeros((), dtype=torch.int64, device=self.device)

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        mask = batch["depth_mask"]
        sums = _sum_valid(depth_errors(prediction, batch["depth"]), mask)
        counts = mask.sum((1, 2, 3))
        self._sums += sums.sum(0)
        self._count += counts.sum()
        return BatchMetrics(depth_metrics(sums / counts[:, None]), counts > 0)

    def dataset_metrics(self) -> dict[str, float]:
        count = all_sum(self._count)
        return _named(self.dataset_metric_names, depth_metrics(all_sum(self._sums) / count), count)


class NormalMetric(PerspectiveMetric):
    """Angles between predicted and ground truth normals, see `normal_metrics`."""

    image_metric_names = ("mean", "median", "11.25", "22.5", "30")
    dataset_metric_names = tuple(name + PER_PIXEL for name in image_metric_names)

    def set_up(self) -> None:
        self._sums = torch.zeros(1 + len(ANGLES), dtype=torch.float64, device=self.device)
        self._histogram = angle_histogram(self.device)

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        mask = batch["normal_mask"]
        angle = angles(prediction, batch["normal"])
        sums, counts = _sum_valid(_angle_errors(angle), mask), mask.sum((1, 2, 3))
        self._sums += sums.sum(0)
        add_angles(self._histogram, angle, mask)
        return BatchMetrics(normal_metrics(sums / counts[:, None], lower_median(angle, mask)), counts > 0)

    def dataset_metrics(self) -> dict[str, float]:
        histogram = all_sum(self._histogram)
        count = histogram.sum()
        means = all_sum(self._sums) / count
        return _named(self.dataset_metric_names, normal_metrics(means, histogram_median(histogram)), count)


ANGLES = (11.25, 22.5, 30.0)  # degrees


def segmentation_metrics(confusion: torch.Tensor) -> torch.Tensor:
    """mIoU and pixAcc, (..., 2) float64, from confusion matrices (..., K, K)."""
    intersection = confusion.diagonal(dim1=-2, dim2=-1).double()
    union = confusion.sum(-1) + confusion.sum(-2) - intersection
    iou = intersection / union.clamp_min(1)  # 0 for a class that does not occur
    return torch.stack([iou.mean(-1), intersection.sum(-1) / confusion.sum((-2, -1))], dim=-1)


def depth_errors(prediction: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
    """Per-pixel errors, (B, 1, H, W) float64 or bool each, whose means `depth_metrics` takes.

    With predicted depth p, clamped to MIN_DEPTH .. MAX_DEPTH (NaN becomes MIN_DEPTH), and ground truth d:
    max(p/d, d/p) < 1.25^i for i = 1, 2, 3; (p - d)^2; (ln p - ln d)^2; |p - d| / d; (p - d)^2 / d; |log10 p - log10 d|;
    ln p - ln d.

    Args:
        prediction, target: (B, 1, H, W) meters.
    """
    p = prediction.double().nan_to_num(MIN_DEPTH, MAX_DEPTH, MIN_DEPTH).clamp(MIN_DEPTH, MAX_DEPTH)
    d = target.double()
    error, log_error = p - d, p.log() - d.log()
    ratio = torch.maximum(p / d, d / p)
    below = [ratio < 1.25**i for i in (1, 2, 3)]
    log10_error = (p.log10() - d.log10()).abs()
    return [*below, error**2, log_error**2, error.abs() / d, error**2 / d, log10_error, log_error]


def depth_metrics(means: torch.Tensor) -> torch.Tensor:
    """Metrics (..., 9) from the means (..., 9) of `depth_errors`, in the order of `DepthMetric.dataset_metric_names`.

    ``d1``, ``d2``, ``d3``: fractions of pixels; ``rms`` (meters) and ``log_rms``: root mean squares; ``abs_rel``,
    ``sq_rel``, ``log10``: means; ``si_log`` = sqrt(mean e^2 - (mean e)^2) with e = ln p - ln d.
    """
    fractions, mean_square, log_mean_square, relative, log_mean = means.split([3, 1, 1, 3, 1], dim=-1)
    variance = (log_mean_square - log_mean**2).clamp_min(0)
    return torch.cat([fractions, mean_square.sqrt(), log_mean_square.sqrt(), relative, variance.sqrt()], dim=-1)


def angles(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Angles (B, H, W) in degrees, float64: arccos of <p / |p|, n>, clamped to [-1, 1].

    Args:
        prediction: p, (B, 3, H, W) of any length.
        target: n, (B, 3, H, W), not normalized.
    """
    prediction = torch.nn.functional.normalize(prediction.double(), dim=1)
    return torch.rad2deg(vecdot(prediction, target.double(), dim=1).clamp(-1, 1).arccos())


def _angle_errors(angle: torch.Tensor) -> list[torch.Tensor]:
    """The angle of each pixel, and whether it is below each of the ANGLES, (B, H, W) each."""
    return [angle, *(angle < limit for limit in ANGLES)]


def normal_metrics(means: torch.Tensor, median: torch.Tensor) -> torch.Tensor:
    """Metrics (..., 5) from the mean angle and the fractions below the ANGLES, (..., 4), and the median angle (...).

    ``mean`` and ``median`` in degrees; ``11.25``, ``22.5``, ``30``: fractions of pixels with smaller angles.
    """
    return torch.cat([means[..., :1], median[..., None], means[..., 1:]], dim=-1)


def lower_median(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The lower median (B,) of the valid values of each image.

    Args:
        values: (B, H, W).
        mask: valid pixels, (B, 1, H, W).
    """
    mask = mask.flatten(1)
    ascending = values.flatten(1).masked_fill(~mask, torch.inf).sort(dim=1).values
    middle = (mask.sum(1, keepdim=True) - 1).clamp_min(0) // 2
    return ascending.gather(1, middle)[:, 0]


def _sum_valid(errors: list[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Sums (B, m) float64 of m errors (B, H, W) or (B, 1, H, W) over the valid pixels (B, 1, H, W) of each image."""
    mask = mask.flatten(1)
    return torch.stack([torch.where(mask, error.flatten(1), 0).sum(1, dtype=torch.float64) for error in errors], dim=1)


def _named(names: tuple[str, ...], values: torch.Tensor, count: torch.Tensor) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True)) if count else {}
