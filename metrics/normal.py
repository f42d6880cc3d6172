"""Surface normal metrics of an image."""

import torch

from metrics.breakdown import PixelError
from metrics.task_metric import PixelMetric, with_solid_angle
from metrics.weighted import weighted_means, weighted_median

THRESHOLDS = (5.0, 7.5, 11.25, 22.5, 30.0)  # degrees: a1 .. a5


def normal_errors(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Errors (7, n) of the valid pixels of one image, float64: the angle in degrees, its square, and
    whether it is below each of the THRESHOLDS (0 or 1).

    Args:
        prediction, target: (3, H, W) nonzero vectors of any length.
        mask: (1, H, W), the valid pixels.
    """
    return angle_errors(angle_between(prediction.movedim(0, -1)[mask[0]], target.movedim(0, -1)[mask[0]]))


def angle_errors(angle: torch.Tensor) -> torch.Tensor:
    """As `normal_errors`, given the angles (n,) in degrees."""
    return torch.stack([angle, angle**2, *[(angle < limit).double() for limit in THRESHOLDS]])


def normal_metrics(errors: torch.Tensor, weights: torch.Tensor) -> dict[str, float]:
    """Metrics of one image from its `normal_errors` and the weights (n,) of its pixels.

    ``mean``, ``median`` and ``rmse`` (root mean square) of the angle in degrees; ``a1`` .. ``a5``: percentage of pixels
    below 5, 7.5, 11.25, 22.5 and 30 degrees.
    """
    mean, mean_square, *fractions = weighted_means(errors, weights).tolist()
    metrics = {"mean": mean, "median": weighted_median(errors[0], weights).item(), "rmse": mean_square**0.5}
    return metrics | {f"a{i}": 100 * fraction for i, fraction in enumerate(fractions, start=1)}


class NormalMetric(PixelMetric):
    """Normal metrics."""

    target = "normal"
    metric_names = with_solid_angle(("mean", "median", "rmse", *(f"a{i + 1}" for i in range(len(THRESHOLDS)))))
    errors = staticmethod(normal_errors)
    metrics = staticmethod(normal_metrics)
    pixel_errors = (PixelError("angular error", "°"),)
    breakdown_rows = (0,)


def angle_between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angles (...) in degrees between vectors (..., 3), in float64.

    Computed by atan2, which is accurate near 0 and 180 degrees, where arccos is not.
    """
    a, b = a.double(), b.double()
    sine = torch.linalg.cross(a, b).norm(dim=-1)
    cosine = (a * b).sum(-1)
    return torch.rad2deg(torch.atan2(sine, cosine))
