"""Base classes of the metrics of a task.

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

RELEASED = Protocol()  # the protocol of the released code
_MAPS = 8  # approximate number of float64 maps in memory


def with_solid_angle(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of metrics, followed by the names of the same metrics weighted by solid angle."""
    return (*names, *(name + SOLID_ANGLE for name in names))


@dataclass(frozen=True)
class BatchMetrics:
    """Metrics of the B images of a batch, on its device.

    Attributes:
        values: (B, M) float64, in the order of `TaskMetric.image_metric_names`.
        has_ground_truth: (B,) bool, or (B, M) if it depends on the metric; values without ground truth are undefined.
        profiles: sums for `ErrorProfiles`, (B, 1 + m, bins + bands) float64; None without breakdowns.
        sums: sums for `ImageSums`, (B, S) float64; None if nothing is pooled.
    """

    values: torch.Tensor
    has_ground_truth: torch.Tensor
    profiles: torch.Tensor | None = None
    sums: torch.Tensor | None = None


class TaskMetric(ABC):
    """Evaluates the predictions of one task.

    Args:
        num_classes: K.
        device: device of the predictions.
        with_breakdown: whether to collect the error profiles for `breakdown`.
        protocol: evaluation protocol.

    Attributes:
        metric_names: names of all metrics by the protocol of the released code.
        image_metric_names: names of the metrics of single images.
        pixel_errors: errors in the breakdown.
        profiles: error profiles; None without breakdowns.
        sums: sums of each image for metrics of all pixels together; None if nothing is pooled.
    """

    metric_names: tuple[str, ...]
    image_metric_names: tuple[str, ...]
    pixel_errors: tuple[PixelError, ...]

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
        """Initialize the state accumulated over images; called at the end of the constructor."""

    @abstractmethod
    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        """Metrics of each image of a batch, given its predictions (B, ., H, W); also updates the state."""

    def dataset_metrics(self) -> dict[str, float]:
        """Metrics of all images so far, of all processes, that are not means over images."""
        return {}

    def breakdown(self) -> Breakdown:
        """Error profiles of all images so far, of all processes. Requires `with_breakdown`."""
        return Breakdown(*self.profiles.compute())


@dataclass(frozen=True)
class RowSums:
    """Sums of m errors over the valid pixels of each row.

    Attributes:
        errors: sums (B, m, H) float64.
        counts: numbers of valid pixels, (B, H).
        first_error: the first error of each pixel, (B, H, W); undefined where invalid.
        profiles: see `BatchMetrics`.
    """

    errors: torch.Tensor
    counts: torch.Tensor
    first_error: torch.Tensor
    profiles: torch.Tensor | None

    def means(self, row_weights: torch.Tensor) -> torch.Tensor:
        """Mean errors of each image, (B, m), with these weights (H,) of the pixels of each row."""
        return (self.errors * row_weights).sum(-1) / (self.counts * row_weights).sum(-1, keepdim=True)

    def pooled(self, row_weights: torch.Tensor) -> torch.Tensor:
        """Total weight and weighted sums of the errors of each image, (B, 1 + m), for `pooled_means`."""
        weight = (self.counts * row_weights).sum(-1, keepdim=True)
        return torch.cat([weight, (self.errors * row_weights).sum(-1)], dim=1)


class PixelMetric(TaskMetric):
    """Metrics computed from mean errors over the valid pixels of an image, weighted uniformly or by solid angle.

    Attributes:
        breakdown_errors: indices of the `pixel_errors` among the errors.
    """

    breakdown_errors: tuple[int, ...]

    def row_weights(self, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Weights (H,) float64 of the pixels of each row of images (B, H, W), by metric suffix."""
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
            errors: returns the m errors, (B, h, W) float64 or bool each, given h rows of prediction and target,
                (B, ., h, W).
            prediction, target: (B, ., H, W).
            mask: valid pixels, (B, H, W).
            batch: ground truth for error profiles, if this metric collects them; None: no profiles.
        """
        batch = batch if self.profiles else None
        _, height, width = mask.shape
        first_errors, sums, profiles = [], [], []
        for rows in row_chunks(height, elements_per_row=_MAPS * mask.shape[0] * width, like=prediction):
            valid = mask[:, rows]
            row_errors = errors(prediction[..., rows, :], target[..., rows, :])
            first_errors.append(row_errors[0])
            sums.append(torch.stack([_sum_rows(error, valid) for error in row_errors], dim=1))
            if batch:
                reported = [row_errors[i] for i in self.breakdown_errors]
                profiles.append(self.profiles.row_sums(reported, valid, batch, rows))
        return RowSums(
            torch.cat(sums, dim=-1),
            mask.sum(-1),
            torch.cat(first_errors, dim=1),
            self.profiles.image_sums(profiles) if batch else None,
        )


def pooled_means(sums: torch.Tensor) -> torch.Tensor | None:
    """Mean errors (m,) of all pixels from the total of `RowSums.pooled`, (1 + m,); None without valid pixels."""
    return sums[1:] / sums[0] if sums[0] > 0 else None


def _sum_rows(error: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Sums (B, h) float64 of an error (B, h, W) over the valid pixels of each row."""
    masked = error & valid if error.dtype == torch.bool else torch.where(valid, error, 0)
    return masked.sum(-1).double()
