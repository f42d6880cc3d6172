"""Depth metrics of an image."""

import torch

from metrics.breakdown import PixelError
from metrics.task_metric import PixelMetric, with_solid_angle
from metrics.weighted import weighted_means
from utils.tasks import MAX_DEPTH

MIN_DEPTH = 0.1  # meters: prediction and target are clamped to MIN_DEPTH .. MAX_DEPTH
METRICS = ("abs_rel", "sq_rel", "abs_", "rms", "log_rms", "log10", "a1", "a2", "a3")


def depth_errors(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Errors (9, n) of the valid pixels of one image, float64; their means are the METRICS or the squares of those.

    ======== ========================================= ===================================
    key      formula, mean over pixels                 name in the released program
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
        prediction, target: (1, H, W) meters along the ray: p and d, e = p - d.
        mask: (1, H, W), the valid pixels.
    """
    p = prediction[mask].double().clamp(MIN_DEPTH, MAX_DEPTH)
    d = target[mask].double().clamp(MIN_DEPTH, MAX_DEPTH)
    error = p - d
    log_error = p.log10() - d.log10()
    ratio = torch.maximum(p / d, d / p)
    absolute, squared = error.abs(), error**2
    below = [(ratio < 1.25**i).double() for i in (1, 2, 3)]
    return torch.stack([absolute / d, squared / d, absolute, squared, log_error**2, log_error.abs(), *below])


def depth_metrics(errors: torch.Tensor, weights: torch.Tensor) -> dict[str, float]:
    """Metrics of one image from its `depth_errors` and the weights (n,) of its pixels."""
    means = weighted_means(errors, weights).tolist()
    metrics = dict(zip(METRICS, means, strict=True))
    return metrics | {name: metrics[name] ** 0.5 for name in ("rms", "log_rms")}


class DepthMetric(PixelMetric):
    """Depth metrics."""

    target = "depth"
    metric_names = with_solid_angle(METRICS)
    errors = staticmethod(depth_errors)
    metrics = staticmethod(depth_metrics)
    pixel_errors = (PixelError("absolute error", "m"), PixelError("relative error", ""))
    breakdown_rows = (METRICS.index("abs_"), METRICS.index("abs_rel"))
