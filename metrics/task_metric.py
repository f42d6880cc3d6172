"""Base classes of the tasks' metrics: some are computed per image, others over the whole dataset."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from metrics.breakdown import Breakdown, ErrorProfiles, PixelError
from utils.sphere import erp_solid_angles

SOLID_ANGLE = "_solid_angle"  # suffix of metrics in which every pixel is weighted by its solid angle


def pixel_weights(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two weights (n,) of the n pixels of a mask (1, H, W), float64: 1, and the solid angle in steradians."""
    by_row = torch.tensor(erp_solid_angles(*mask.shape[-2:]), device=mask.device)
    solid_angle = by_row[:, None].expand_as(mask)[mask]
    return torch.ones_like(solid_angle), solid_angle


def with_solid_angle(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of metrics, followed by those of the same metrics weighted by solid angle."""
    return (*names, *(name + SOLID_ANGLE for name in names))


class TaskMetric(ABC):
    """Evaluates the predictions of one task.

    Args:
        num_classes: K.
        device: of the predictions.
        with_breakdown: whether to collect the error profiles for `breakdown` as well.
    """

    metric_names: tuple[str, ...]  # of all metrics, of images and of the dataset
    pixel_errors: tuple[PixelError, ...]  # those that a breakdown contains

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", with_breakdown: bool = False):
        self.num_classes = num_classes
        self.device = device
        self.profiles = ErrorProfiles(self.pixel_errors) if with_breakdown else None

    @abstractmethod
    def image_metrics(self, prediction: torch.Tensor, batch: dict, i: int) -> dict[str, float]:
        """Metrics of sample i of a batch, given its prediction (., H, W); empty if it has no ground truth."""

    def dataset_metrics(self) -> dict[str, float]:
        """Metrics of all samples so far, of all processes, that are not means over images."""
        return {}

    def breakdown(self) -> Breakdown:
        """Error profiles of all samples so far, of all processes. Needs `with_breakdown`."""
        return Breakdown(*self.profiles.compute())


class PixelMetric(TaskMetric):
    """Per-pixel errors, averaged over the valid pixels of an image: uniformly, and weighted by solid angle."""

    target: str  # key of the ground truth in a batch; its valid mask has the key "<target>_mask"
    errors: Callable[..., torch.Tensor]  # of (prediction, target, mask): m errors of each of n valid pixels, (m, n)
    metrics: Callable[..., dict[str, float]]  # of (errors, weights (n,))
    breakdown_rows: tuple[int, ...]  # indices of the `pixel_errors` among the m errors

    def image_metrics(self, prediction: torch.Tensor, batch: dict, i: int) -> dict[str, float]:
        mask = batch[f"{self.target}_mask"][i]
        if not mask.any():
            return {}
        errors = self.errors(prediction, batch[self.target][i], mask)
        if self.profiles:
            self.profiles.add(errors[list(self.breakdown_rows)], mask, batch, i)
        uniform, solid_angle = pixel_weights(mask)
        weighted = self.metrics(errors, solid_angle)
        return self.metrics(errors, uniform) | {name + SOLID_ANGLE: value for name, value in weighted.items()}
