"""What all tasks' metrics have in common: values per image, and some of the whole dataset."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from metrics.breakdown import Breakdown, ErrorProfiles, PixelError
from utils.sphere import erp_solid_angles

SOLID_ANGLE = "_solid_angle"  # ends the names of metrics in which every pixel counts as its solid angle


def pixel_weights(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two weights (n,) of the n pixels of a mask (1, H, W), float64: 1, and the solid angle in steradians."""
    by_row = torch.tensor(erp_solid_angles(*mask.shape[-2:]), device=mask.device)
    solid_angle = by_row[:, None].expand_as(mask)[mask]
    return torch.ones_like(solid_angle), solid_angle


def with_solid_angle(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of metrics, and those of the same metrics by solid angle."""
    return (*names, *(name + SOLID_ANGLE for name in names))


class TaskMetric(ABC):
    """Evaluates the predictions of one task.

    Args:
        num_classes: K.
        device: where predictions will be.
        with_breakdown: whether to note where the errors lie, too.
    """

    metric_names: tuple[str, ...]  # of all metrics of a dataset
    pixel_errors: tuple[PixelError, ...]  # those that a breakdown tells

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", with_breakdown: bool = False):
        self.num_classes = num_classes
        self.device = device
        self.profiles = ErrorProfiles(self.pixel_errors) if with_breakdown else None

    @abstractmethod
    def image_metrics(self, prediction: torch.Tensor, batch: dict, i: int) -> dict[str, float]:
        """Metrics of sample i of a batch, given its prediction (., H, W); empty if it has no ground truth."""

    def dataset_metrics(self) -> dict[str, float]:
        """Metrics of all samples so far, of all processes, other than means over images."""
        return {}

    def breakdown(self) -> Breakdown:
        """Where the errors of all samples so far lie, of all processes. Only of a metric made `with_breakdown`."""
        return Breakdown(*self.profiles.compute())


class PixelMetric(TaskMetric):
    """Errors of pixels, averaged over the valid ones of an image; every metric also weighted by solid angle."""

    truth: str  # key of the truth in a batch; its mask is at "<truth>_mask"
    errors: Callable[..., torch.Tensor]  # of (prediction, truth, mask): some errors of each valid pixel, (m, n)
    metrics: Callable[..., dict[str, float]]  # of (errors, weights (n,))
    breakdown_rows: tuple[int, ...]  # which of the m errors are the `pixel_errors`

    def image_metrics(self, prediction: torch.Tensor, batch: dict, i: int) -> dict[str, float]:
        mask = batch[f"{self.truth}_mask"][i]
        if not mask.any():
            return {}
        errors = self.errors(prediction, batch[self.truth][i], mask)
        if self.profiles:
            self.profiles.add(errors[list(self.breakdown_rows)], mask, batch, i)
        uniform, solid_angle = pixel_weights(mask)
        weighted = self.metrics(errors, solid_angle)
        return self.metrics(errors, uniform) | {name + SOLID_ANGLE: value for name, value in weighted.items()}
