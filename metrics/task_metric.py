"""What all metrics have in common: figures per image, and some of the whole set."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from metrics.breakdown import Breakdown, ErrorProfiles, PixelError
from utils.sphere import erp_solid_angles


class TaskMetric(ABC):
    """Judges the predictions of one task.

    Args:
        num_classes: K.
        device: where predictions will be.
        with_breakdown: whether to note where the errors lie, too.
    """

    pixel_errors: tuple[PixelError, ...]  # those that a breakdown tells

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", with_breakdown: bool = False):
        self.num_classes = num_classes
        self.device = device
        self.profiles = ErrorProfiles(self.pixel_errors) if with_breakdown else None

    @abstractmethod
    def image_figures(self, prediction: torch.Tensor, batch: dict, i: int) -> dict[str, float]:
        """Figures of sample i of a batch, given its prediction (., H, W); none when there is no truth for it."""

    def set_figures(self) -> dict[str, float]:
        """Figures of all samples so far, of all processes, other than means over images."""
        return {}

    def breakdown(self) -> Breakdown:
        """Where the errors of all samples so far lie, of all processes. Only of a metric made `with_breakdown`."""
        return Breakdown(*self.profiles.compute())


class PixelMetric(TaskMetric):
    """Errors of pixels, averaged over the valid ones of an image; every figure also weighted by solid angle."""

    truth: str  # key of the truth in a batch; its mask is at "<truth>_mask"
    errors: Callable[..., torch.Tensor]  # of (prediction, truth, mask): some errors of each valid pixel, (m, n)
    figures: Callable[..., dict[str, float]]  # of (errors, weights (n,))
    told: tuple[int, ...]  # which of the m errors are the `pixel_errors`

    def image_figures(self, prediction: torch.Tensor, batch: dict, i: int) -> dict[str, float]:
        mask = batch[f"{self.truth}_mask"][i]
        if not mask.any():
            return {}
        height, width = mask.shape[-2:]
        by_row = torch.tensor(erp_solid_angles(height, width), device=mask.device)
        solid_angle = by_row[:, None].expand_as(mask)[mask]  # (n,)
        errors = self.errors(prediction, batch[self.truth][i], mask)
        if self.profiles:
            self.profiles.add(errors[list(self.told)], mask, batch, i)
        figures = self.figures(errors, torch.ones_like(solid_angle))
        weighted = self.figures(errors, solid_angle)
        return figures | {f"{name}_solid_angle": value for name, value in weighted.items()}
