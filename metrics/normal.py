"""Surface normal figures of one image."""

import torch

from metrics.weighted import weighted_mean, weighted_median

THRESHOLDS = (5.0, 7.5, 11.25, 22.5, 30.0)  # degrees: a1 .. a5


def normal_metrics(
    prediction: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor
) -> dict[str, float]:
    """Figures of one image over its valid pixels; empty when it has none.

    ``mean``, ``median`` and ``rmse`` (root mean square) of the angle in degrees; ``a1`` .. ``a5``: per cent of pixels
    below 5, 7.5, 11.25, 22.5 and 30 degrees.

    Args:
        prediction, truth: (3, H, W) vectors of any length but zero.
        mask: (1, H, W), the valid pixels.
        weights: (1, H, W), how much each pixel counts.
    """
    weights = weights[mask].double()
    if not len(weights):
        return {}
    angle = angle_between(prediction.movedim(0, -1)[mask[0]], truth.movedim(0, -1)[mask[0]])

    def mean(values: torch.Tensor) -> float:
        return weighted_mean(values, weights).item()

    return {
        "mean": mean(angle),
        "median": weighted_median(angle, weights).item(),
        "rmse": mean(angle**2) ** 0.5,
        **{f"a{i}": 100 * mean((angle < limit).double()) for i, limit in enumerate(THRESHOLDS, start=1)},
    }


def angle_between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angles (...) in degrees between vectors (..., 3), in float64.

    By the arctangent of sine and cosine, which is exact near 0 and 180 degrees where the arccosine is not.
    """
    a, b = a.double(), b.double()
    sine = torch.linalg.cross(a, b).norm(dim=-1)
    cosine = (a * b).sum(-1)
    return torch.rad2deg(torch.atan2(sine, cosine))
