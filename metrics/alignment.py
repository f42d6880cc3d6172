"""Alignment of predicted depth with the ground truth of each image, see `metrics.protocol.ALIGNMENTS`."""

from typing import NamedTuple

import torch

from metrics.protocol import SMALLEST_DEPTH
from metrics.weighted import weighted_medians

_FLAT = 1e-12  # below this fraction of the squared mean, a variance is rounding error: the prediction is constant


class Fit(NamedTuple):
    """The alignment factor * x + shift of each image, x being depth or disparity; (B,) float64."""

    factor: torch.Tensor
    shift: torch.Tensor
    in_disparity: bool = False

    def apply(self, depth: torch.Tensor) -> torch.Tensor:
        """Align predicted depth (B, H, W); disparities that become negative are clamped, hence far away."""
        factor, shift = self.factor[:, None, None], self.shift[:, None, None]
        if not self.in_disparity:
            return depth * factor + shift
        return 1 / (factor / depth.clamp_min(SMALLEST_DEPTH) + shift).clamp_min(SMALLEST_DEPTH)


def fit_depth(align: str, prediction: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> Fit:
    """Fit the prediction of each image to its ground truth.

    Args:
        align: a key of ALIGNMENTS other than "none".
        prediction: (B, H, W) float64 meters.
        target: (B, H, W) float64 meters; arbitrary where the weight is 0.
        weights: pixel weights (B, H, W) float64, 0 for invalid pixels.
    """
    p, d = (values.where(weights > 0, 1) for values in (prediction, target))
    if align == "median":
        p_median, d_median = (weighted_medians(values.flatten(1), weights.flatten(1)) for values in (p, d))
        factor = d_median / p_median
        return Fit(factor, torch.zeros_like(factor))
    if align == "scale":
        factor = _sum(weights * p * d) / _sum(weights * p**2)
        return Fit(factor, torch.zeros_like(factor))
    if align == "scale_shift":
        return Fit(*_line(p, d, weights))
    if align == "disparity":
        return Fit(*_line(1 / p.clamp_min(SMALLEST_DEPTH), 1 / d, weights), in_disparity=True)
    raise ValueError(f"unknown alignment {align}")


def _line(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor and shift (B,) of the weighted least-squares line y = factor * x + shift, for x, y (B, H, W)."""
    total = _sum(weights)
    x_mean, y_mean = _sum(weights * x) / total, _sum(weights * y) / total
    x_centered, y_centered = x - x_mean[:, None, None], y - y_mean[:, None, None]
    covariance, variance = _sum(weights * x_centered * y_centered) / total, _sum(weights * x_centered**2) / total
    factor = torch.where(variance > _FLAT * x_mean**2, covariance / variance, 0)
    factor = torch.where(variance.isnan(), torch.nan, factor)
    return factor, y_mean - factor * x_mean


def _sum(values: torch.Tensor) -> torch.Tensor:
    return values.sum((1, 2))
