"""Surface normal metrics of panoramas."""

import torch

from metrics.breakdown import PixelError
from metrics.pooling import ImageSums, add_angles, angle_histogram, histogram_median
from metrics.protocol import PER_PIXEL
from metrics.task_metric import BatchMetrics, PixelMetric, pooled_means, with_solid_angle
from metrics.weighted import weighted_medians
from utils.distributed import all_sum

THRESHOLDS = (5.0, 7.5, 11.25, 22.5, 30.0)  # degrees: a1 .. a5
METRICS = ("mean", "median", "rmse", *(f"a{i + 1}" for i in range(len(THRESHOLDS))))


class NormalMetric(PixelMetric):
    """Angular errors of normals.

    ``mean``, ``median`` and ``rmse`` (root mean square) of the angle in degrees; ``a1`` .. ``a5``: percentage of pixels
    with angles below 5, 7.5, 11.25, 22.5 and 30 degrees.
    """

    metric_names = image_metric_names = with_solid_angle(METRICS)
    pixel_errors = (PixelError("angular error", "°"),)
    breakdown_errors = (0,)

    def set_up(self) -> None:
        if self.protocol.pool_pixels:
            self.sums = ImageSums(len(METRICS))  # total weight and errors; the median has a histogram instead of a sum
            self._histogram = angle_histogram(self.device)

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        mask = batch["normal_mask"][:, 0]
        sums = self.sum_rows(normal_errors, prediction, batch["normal"], mask, batch)
        all_weights, values = self.row_weights(mask), []
        for row_weights in all_weights.values():
            weights = row_weights[:, None] * mask
            median = weighted_medians(sums.first_error.flatten(1), weights.flatten(1))
            values.append(normal_metrics(sums.means(row_weights), median))
        pooled = None
        if self.sums:
            pooled = sums.pooled(all_weights[""])
            add_angles(self._histogram, sums.first_error, mask)
        return BatchMetrics(torch.cat(values, dim=1), sums.counts.sum(-1) > 0, sums.profiles, pooled)

    def dataset_metrics(self) -> dict[str, float]:
        """Metrics of all valid pixels together, if the protocol pools pixels; the median is exact to 0.001 degrees."""
        means = pooled_means(self.sums.total()) if self.sums else None
        if means is None:
            return {}
        median = histogram_median(all_sum(self._histogram)).cpu()
        values = normal_metrics(means[None], median[None])[0].tolist()
        return {name + PER_PIXEL: value for name, value in zip(METRICS, values, strict=True)}


def normal_errors(prediction: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
    """Errors (B, h, W) of vectors (B, 3, h, W) of any length but zero.

    The angle in degrees, its square, and whether it is below each of the THRESHOLDS.
    """
    angle = angle_between(prediction, target, dim=1)
    return [angle, angle**2, *(angle < limit for limit in THRESHOLDS)]


def normal_metrics(means: torch.Tensor, median: torch.Tensor) -> torch.Tensor:
    """The METRICS (B, 8) from the means (B, 7) of `normal_errors` and the median angle (B,)."""
    mean, mean_square, *fractions = means.unbind(1)
    return torch.stack([mean, median, mean_square.sqrt(), *(100 * fraction for fraction in fractions)], dim=1)


def angle_between(a: torch.Tensor, b: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Angles in degrees, float64, between vectors along a dimension of size 3, which is removed.

    Computed by atan2, which unlike arccos is accurate near 0 and 180 degrees.
    """
    (ax, ay, az), (bx, by, bz) = a.double().unbind(dim), b.double().unbind(dim)
    sine = ((ay * bz - az * by) ** 2 + (az * bx - ax * bz) ** 2 + (ax * by - ay * bx) ** 2).sqrt()
    return torch.rad2deg(torch.atan2(sine, ax * bx + ay * by + az * bz))
