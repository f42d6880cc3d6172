"""Jumps of predicted depth across the edges of a cube around the camera: seams of methods that predict cube faces."""

import math

import torch

from metrics.constants import pixels_beside_cube_edges
from metrics.extra import ExtraMetric, ExtraValues

DEFECT = 0.02  # larger jumps are defects
BROKEN = 0.1  # edges with a larger fraction of defects count for the prevalence
SEVERE = 0.015  # edges with a larger mean jump count for the severity


def cube_seam_scores(predictions: dict[str, torch.Tensor], batch: dict) -> ExtraValues:
    """Defect density, prevalence and severity (B, 3) of predicted depth; no ground truth is used.

    A jump is the absolute difference between the depths one pixel to either side of a cube edge, divided by the range
    between percentiles 1 and 99 of the image's depths. Density is the fraction of defects among the jumps of all 12
    edges, prevalence the fraction of edges with more than 10 % of defects, and severity the fraction of edges with a
    mean jump above 0.015. The cube is aligned with the camera's axes.
    """
    depth = predictions["depth"][:, 0].double()
    pixels = pixels_beside_cube_edges(*depth.shape[1:], depth.device)
    first, second = depth.flatten(1)[:, pixels.flatten()].unflatten(1, pixels.shape).unbind(1)  # (B, 12, n) each
    low, high = (_quantiles(depth.flatten(1), fraction) for fraction in (0.01, 0.99))
    extent = (high - low).clamp_min(torch.finfo(depth.dtype).tiny)[:, None, None]
    jumps = (first - second).abs() / extent
    defects = (jumps > DEFECT).double()
    scores = [
        defects.mean((1, 2)),
        (defects.mean(2) > BROKEN).double().mean(1),
        (jumps.mean(2) > SEVERE).double().mean(1),
    ]
    return ExtraValues(torch.stack(scores, dim=1), torch.ones_like(extent[:, 0, 0], dtype=torch.bool))


def _quantiles(values: torch.Tensor, fraction: float) -> torch.Tensor:
    """The quantile (B,) of each row of values (B, n), without interpolation."""
    return values.kthvalue(max(1, math.ceil(fraction * values.shape[1])), dim=1).values


CUBE_SEAMS = ExtraMetric(
    task="depth",
    names=("cube_defects", "cube_prevalence", "cube_severity"),
    description="needs no ground truth: jumps of predicted depth across the 12 edges of a cube along the axes, one "
    "pixel to either side, divided by the range of percentiles 1 to 99 of the image; fraction of jumps above 0.02, of "
    "edges with more than 10 % of them, and of edges with a mean above 0.015; mean over images",
    compute=cube_seam_scores,
)
