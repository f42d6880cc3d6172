"""Surface normal metrics of images."""

import torch

from metrics.breakdown import PixelError
from metrics.task_metric import PixelMetric, with_solid_angle
from metrics.weighted import weighted_medians

THRESHOLDS = (5.0, 7.5, 11.25, 22.5, 30.0)  # degrees: a1 .. a5


class NormalMetric(PixelMetric):
    """Angular errors of images.

    ``mean``, ``median`` and ``rmse`` (root mean square) of the angle in degrees; ``a1`` .. ``a5``: percentage of pixels
    below 5, 7.5, 11.25, 22.5 and 30 degrees.
    """

    target = "normal"
    metric_names = image_metric_names = with_solid_angle(
        ("mean", "median", "rmse", *(f"a{i + 1}" for i in range(len(THRESHOLDS))))
    )
    pixel_errors = (PixelError("angular error", "°"),)
    breakdown_rows = (0,)

    def errors(self, prediction: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
        """The angle in degrees between vectors (B, 3, h, W) of any length but zero, its square, and where it is below
        each of the THRESHOLDS."""
        angle = angle_between(prediction, target, dim=1)
        return [angle, angle**2, *(angle < limit for limit in THRESHOLDS)]

    def metrics(self, means: torch.Tensor, errors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        mean, mean_square, *fractions = means.unbind(1)
        median = weighted_medians(errors.flatten(1), weights.flatten(1))
        return torch.stack([mean, median, mean_square.sqrt(), *(100 * fraction for fraction in fractions)], dim=1)


def angle_between(a: torch.Tensor, b: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Angles in degrees between vectors that lie along a dimension of size 3, which goes, in float64.

    Computed by atan2, which is accurate near 0 and 180 degrees, where arccos is not.
    """
    (ax, ay, az), (bx, by, bz) = a.double().unbind(dim), b.double().unbind(dim)
    sine = ((ay * bz - az * by) ** 2 + (az * bx - ax * bz) ** 2 + (ax * by - ay * bx) ** 2).sqrt()
    return torch.rad2deg(torch.atan2(sine, ax * bx + ay * by + az * bz))
