"""Depth metrics of images."""

import torch

from metrics.breakdown import PixelError
from metrics.task_metric import PixelMetric, with_solid_angle
from utils.tasks import MAX_DEPTH

MIN_DEPTH = 0.1  # meters: prediction and target are clamped to MIN_DEPTH .. MAX_DEPTH
METRICS = ("abs_rel", "sq_rel", "abs_", "rms", "log_rms", "log10", "a1", "a2", "a3")


def depth_errors(prediction: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
    """Errors of pixels whose means are the METRICS or their squares: 9 of (B, h, W), float64 or bool.

    ======== ========================================= ===================================
    key      formula, mean over pixels                 name in the released code
    ======== ========================================= ===================================
    abs_rel  |e| / d                                   abs_rel, also mae (which it is not)
    sq_rel   e^2 / d                                   sq_rel, also mre (which it is not)
    abs_     |e|, meters                               abs_
    rms      sqrt(mean e^2), meters                    rms
    log_rms  sqrt(mean (log10 p - log10 d)^2)          log_rms
    log10    |log10 p - log10 d|                       log10
    a1,2,3   fraction with max(p/d, d/p) < 1.25^1,2,3  a1, a2, a3
    ======== ========================================= ===================================

    Args:
        prediction, target: (B, 1, h, W) meters along the ray: p and d, e = p - d.
    """
    p = prediction[:, 0].double().clamp(MIN_DEPTH, MAX_DEPTH)
    d = target[:, 0].double().clamp(MIN_DEPTH, MAX_DEPTH)
    error = p - d
    log_error = p.log10() - d.log10()
    ratio = torch.maximum(p / d, d / p)
    absolute, squared = error.abs(), error**2
    below = [ratio < 1.25**i for i in (1, 2, 3)]
    return [absolute / d, squared / d, absolute, squared, log_error**2, log_error.abs(), *below]


class DepthMetric(PixelMetric):
    """Depth metrics."""

    target = "depth"
    metric_names = image_metric_names = with_solid_angle(METRICS)
    pixel_errors = (PixelError("absolute error", "m"), PixelError("relative error", ""))
    breakdown_rows = (METRICS.index("abs_"), METRICS.index("abs_rel"))

    def errors(self, prediction: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
        return depth_errors(prediction, target)

    def metrics(self, means: torch.Tensor, errors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        columns = zip(METRICS, means.unbind(1), strict=True)
        return torch.stack([mean.sqrt() if name in ("rms", "log_rms") else mean for name, mean in columns], dim=1)
