"""What all tasks' metrics have in common: values of each image, and some of the whole dataset.

Metrics of a batch are computed on its device with masks instead of indices, so that nothing waits for a GPU:
`metrics.evaluator` fetches all values of a batch together.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch

from metrics.breakdown import Breakdown, ErrorProfiles, PixelError
from metrics.constants import solid_angles
from metrics.pooling import ImageSums
from metrics.protocol import SOLID_ANGLE, Protocol
from utils.chunks import row_chunks

RELEASED = Protocol()  # of the released code


def with_solid_angle(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of metrics, followed by those of the same metrics weighted by solid angle."""
    return (*names, *(name + SOLID_ANGLE for name in names))


@dataclass(frozen=True)
class BatchMetrics:
    """Metrics of the B images of a batch, on its device.

    Attributes:
        values: (B, M) float64, in the order of `TaskMetric.image_metric_names`.
        has_ground_truth: (B,) bool, or (B, M) where it depends on the metric; other values mean nothing.
        profiles: what `ErrorProfiles` keeps of each image, (B, 1 + m, bins + bands) float64; None without breakdowns.
        sums: what `ImageSums` keeps of each image, (B, S) float64; None if nothing is pooled.
    """

    values: torch.Tensor
    has_ground_truth: torch.Tensor
    profiles: torch.Tensor | None = None
    sums: torch.Tensor | None = None


class TaskMetric(ABC):
    """Evaluates the predictions of one task.

    Args:
        num_classes: K.
        device: of the predictions.
        with_breakdown: whether to collect the error profiles for `breakdown` as well.
        protocol: of the evaluation.

    Attributes:
        sums: what is kept of each image for metrics of all pixels together; None if there are none.
    """

    metric_names: tuple[str, ...]  # of all metrics of a dataset, by the protocol of the released code
    image_metric_names: tuple[str, ...]  # of those that single images have
    pixel_errors: tuple[PixelError, ...]  # those that a breakdown tells

    def __init__(
        self,
        num_classes: int,
        device: torch.device | str = "cpu",
        with_breakdown: bool = False,
        protocol: Protocol = RELEASED,
    ):
        self.num_classes = num_classes
        self.device = device
        self.profiles = ErrorProfiles(self.pixel_errors) if with_breakdown else None
        self.protocol = protocol
        self.sums: ImageSums | None = None
        self.set_up()

    @abstractmethod
    def set_up(self) -> None:
        """Prepare what is collected of all images; called once, at the end of the constructor."""

    @abstractmethod
    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        """Metrics of each image of a batch, given its predictions (B, ., H, W)."""

    def dataset_metrics(self) -> dict[str, float]:
        """Metrics of all samples so far, of all processes, that are not means over images."""
        return {}

    def breakdown(self) -> Breakdown:
        """Error profiles of all samples so far, of all processes. Needs `with_breakdown`."""
        return Breakdown(*self.profiles.compute())


@dataclass(frozen=True)
class RowSums:
    """Sums of m errors over the valid pixels of the rows of images.

    Attributes:
        errors: (B, m, H) float64.
        counts: valid pixels, (B, H).
        first_error: the first error of each pixel, (B, H, W); anything where it is not valid.
        profiles: see `BatchMetrics`.
    """

    errors: torch.Tensor
    counts: torch.Tensor
    first_error: torch.Tensor
    profiles: torch.Tensor | None

    def means(self, row_weights: torch.Tensor) -> torch.Tensor:
        """Means of the errors of each image, (B, m), given the weight (H,) of a pixel of each row."""
        return (self.errors * row_weights).sum(-1) / (self.counts * row_weights).sum(-1, keepdim=True)

    def pooled(self, row_weights: torch.Tensor) -> torch.Tensor:
        """Total weight and weighted sums of the errors of each image, (B, 1 + m), for `pooled_means`."""
        weight = (self.counts * row_weights).sum(-1, keepdim=True)
        return torch.cat([weight, (self.errors * row_weights).sum(-1)], dim=1)


class PixelMetric(TaskMetric):
    """Metrics that are functions of mean errors over the valid pixels of an image: uniformly, or by solid angle."""

    breakdown_rows: tuple[int, ...]  # which of the errors are the `pixel_errors`

    def row_weights(self, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """The weight (H,) float64 of a pixel of each row of images (B, H, W), by the suffix of the metrics."""
        solid_angle = solid_angles(*mask.shape[-2:], mask.device)
        return {"": torch.ones_like(solid_angle), SOLID_ANGLE: solid_angle}

    def sum_rows(
        self,
        errors: Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]],
        prediction: torch.Tensor,
        target: torch.Tensor,
        mask: torch.Tensor,
        batch: dict | None,
    ) -> RowSums:
        """Sums of the errors of each row.

        Args:
            errors: from some rows of the prediction and the target, (B, ., h, W), to the m errors of each pixel,
                (B, h, W) float64 or bool.
            prediction, target: (B, ., H, W).
            mask: valid pixels, (B, H, W).
            batch: whose error profiles are collected, if this metric collects them; None: not.
        """
        batch = batch if self.profiles else None
        _, height, width = mask.shape
        first_errors, sums, profiles = [], [], []
        for rows in row_chunks(height, elements_per_row=_MAPS * mask.shape[0] * width, like=prediction):
            known = mask[:, rows]
            of_rows = errors(prediction[..., rows, :], target[..., rows, :])
            first_errors.append(of_rows[0])
            sums.append(torch.stack([_sum_of_rows(error, known) for error in of_rows], dim=1))
            if batch:
                told = [of_rows[i] for i in self.breakdown_rows]
                profiles.append(self.profiles.of_rows(told, known, batch, rows))
        return RowSums(
            torch.cat(sums, dim=-1),
            mask.sum(-1),
            torch.cat(first_errors, dim=1),
            self.profiles.of_images(profiles) if batch else None,
        )


def pooled_means(sums: torch.Tensor) -> torch.Tensor | None:
    """The mean errors (m,) of all pixels, from the total of `RowSums.pooled`, (1 + m,); None if there are no pixels."""
    return sums[1:] / sums[0] if sums[0] > 0 else None


_MAPS = 8  # about this many float64 maps are in memory at a time


def _sum_of_rows(error: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Sums (B, h) float64 of an error (B, h, W) over the valid pixels of each row."""
    masked = error & known if error.dtype == torch.bool else torch.where(known, error, 0)
    return masked.sum(-1).double()
