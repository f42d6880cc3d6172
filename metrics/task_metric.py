"""What all tasks' metrics have in common: values of each image, and some of the whole dataset.

Metrics of a batch are computed on its device with masks instead of indices, so that nothing waits for a GPU:
`metrics.evaluator` fetches all values of a batch together.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from metrics.breakdown import Breakdown, ErrorProfiles, PixelError
from metrics.constants import solid_angles
from utils.chunks import row_chunks

SOLID_ANGLE = "_solid_angle"  # suffix of metrics in which every pixel is weighted by its solid angle


def with_solid_angle(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of metrics, followed by those of the same metrics weighted by solid angle."""
    return (*names, *(name + SOLID_ANGLE for name in names))


@dataclass(frozen=True)
class BatchMetrics:
    """Metrics of the B images of a batch, on its device.

    Attributes:
        values: (B, M) float64, in the order of `TaskMetric.image_metric_names`.
        has_ground_truth: (B,) bool; the values of other images mean nothing.
        profiles: what `ErrorProfiles` keeps of each image, (B, 1 + m, bins + bands) float64; None without breakdowns.
    """

    values: torch.Tensor
    has_ground_truth: torch.Tensor
    profiles: torch.Tensor | None = None


class TaskMetric(ABC):
    """Evaluates the predictions of one task.

    Args:
        num_classes: K.
        device: of the predictions.
        with_breakdown: whether to collect the error profiles for `breakdown` as well.
    """

    metric_names: tuple[str, ...]  # of all metrics of a dataset
    image_metric_names: tuple[str, ...]  # of those that single images have
    pixel_errors: tuple[PixelError, ...]  # those that a breakdown tells

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", with_breakdown: bool = False):
        self.num_classes = num_classes
        self.device = device
        self.profiles = ErrorProfiles(self.pixel_errors) if with_breakdown else None

    @abstractmethod
    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        """Metrics of each image of a batch, given its predictions (B, ., H, W)."""

    def dataset_metrics(self) -> dict[str, float]:
        """Metrics of all samples so far, of all processes, that are not means over images."""
        return {}

    def breakdown(self) -> Breakdown:
        """Error profiles of all samples so far, of all processes. Needs `with_breakdown`."""
        return Breakdown(*self.profiles.compute())


class PixelMetric(TaskMetric):
    """Per-pixel errors, averaged over the valid pixels of an image: uniformly, and weighted by solid angle."""

    target: str  # key of the target in a batch; its mask is at "<target>_mask"
    breakdown_rows: tuple[int, ...]  # which of the errors are the `pixel_errors`

    @abstractmethod
    def errors(self, prediction: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
        """Some errors of each pixel, (B, h, W) float64 or bool, of some rows (B, ., h, W)."""

    @abstractmethod
    def metrics(self, means: torch.Tensor, errors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Metrics (B, M) of images.

        Args:
            means: of each error over the valid pixels, (B, m).
            errors: the first error of each pixel, (B, H, W); anything where it is not valid.
            weights: of each pixel, (B, H, W) float64, 0 where it is not valid.
        """

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        target, mask = batch[self.target], batch[f"{self.target}_mask"][:, 0]
        _, height, width = mask.shape
        first_errors, sums, profiles = [], [], []
        for rows in row_chunks(height, elements_per_row=_MAPS * mask.shape[0] * width, like=prediction):
            known = mask[:, rows]
            errors = self.errors(prediction[..., rows, :], target[..., rows, :])
            first_errors.append(errors[0])
            sums.append(torch.stack([_sum_of_rows(error, known) for error in errors], dim=1))
            if self.profiles:
                told = [errors[i] for i in self.breakdown_rows]
                profiles.append(self.profiles.of_rows(told, known, batch, rows))
        first_error, sums, counts = torch.cat(first_errors, dim=1), torch.cat(sums, dim=-1), mask.sum(-1)
        solid_angle = solid_angles(height, width, prediction.device)
        values = []
        for row_weights in (torch.ones_like(solid_angle), solid_angle):
            means = (sums * row_weights).sum(-1) / (counts * row_weights).sum(-1, keepdim=True)  # (B, m)
            values.append(self.metrics(means, first_error, row_weights[:, None] * mask))
        return BatchMetrics(
            torch.cat(values, dim=1), counts.sum(-1) > 0, self.profiles.of_images(profiles) if self.profiles else None
        )


_MAPS = 8  # about so many float64 maps are at hand at a time


def _sum_of_rows(error: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Sums (B, h) float64 of an error (B, h, W) over the valid pixels of each row."""
    masked = error & known if error.dtype == torch.bool else torch.where(known, error, 0)
    return masked.sum(-1).double()
