"""Depth figures of one image."""

import torch

from metrics.weighted import weighted_mean
from utils.tasks import MAX_DEPTH

MIN_DEPTH = 0.1  # metres: prediction and truth are clamped to MIN_DEPTH .. MAX_DEPTH


def depth_metrics(
    prediction: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor
) -> dict[str, float]:
    """Figures of one image over its valid pixels; empty when it has none.

    ======== ====================================== ==========================================
    key      formula, mean over pixels              the released program's name
    ======== ====================================== ==========================================
    abs_rel  |e| / d                                abs_rel, also mae (which it is not)
    sq_rel   e^2 / d                                sq_rel, also mre (which it is not)
    abs_     |e|, metres                            abs_
    rms      sqrt(mean e^2), metres                 rms
    log_rms  sqrt(mean (log10 p - log10 d)^2)       log_rms
    log10    |log10 p - log10 d|                    log10
    a1,2,3   share with max(p/d, d/p) < 1.25^1,2,3  a1, a2, a3
    ======== ====================================== ==========================================

    Args:
        prediction, truth: (1, H, W) metres along the ray: p and d, e = p - d.
        mask: (1, H, W), the valid pixels.
        weights: (1, H, W), how much each pixel counts.
    """
    weights = weights[mask].double()
    if not len(weights):
        return {}
    p = prediction[mask].double().clamp(MIN_DEPTH, MAX_DEPTH)
    d = truth[mask].double().clamp(MIN_DEPTH, MAX_DEPTH)
    error = p - d
    log_error = p.log10() - d.log10()
    ratio = torch.maximum(p / d, d / p)

    def mean(values: torch.Tensor) -> float:
        return weighted_mean(values, weights).item()

    return {
        "abs_rel": mean(error.abs() / d),
        "sq_rel": mean(error**2 / d),
        "abs_": mean(error.abs()),
        "rms": mean(error**2) ** 0.5,
        "log_rms": mean(log_error**2) ** 0.5,
        "log10": mean(log_error.abs()),
        **{f"a{i}": mean((ratio < 1.25**i).double()) for i in (1, 2, 3)},
    }
