"""Jumps of predicted depth across the edges of a cube around the camera, where methods that predict cube faces have
seams."""

import math

import torch

from metrics.constants import pixels_beside_cube_edges
from metrics.joint import JointMetric, JointValues

DEFECT = 0.02  # of the range of an image's depths: a larger jump is a defect
BROKEN = 0.1  # an edge counts for the prevalence if more of its pixels are defects
SEVERE = 0.015  # an edge counts for the severity if its mean jump is larger


def cube_seam_scores(predictions: dict[str, torch.Tensor], batch: dict) -> JointValues:
    """Defect density, prevalence and severity (B, 3) of predicted depth; no ground truth is used.

    A jump is the absolute difference of the depths one pixel to either side of an edge, divided by the difference
    between the percentiles 1 and 99 of the image's depths. Density is the fraction of defects among the jumps of all 12
    edges, prevalence the fraction of edges with more than 10 % of defects, severity that of edges whose mean jump is
    above 0.015. The cube's faces look along the axes of the camera.
    """
    depth = predictions["depth"][:, 0].double()
    place = pixels_beside_cube_edges(*depth.shape[1:], depth.device)
    one, other = depth.flatten(1)[:, place.flatten()].unflatten(1, place.shape).unbind(1)  # (B, 12, n) each
    low, high = (_ranked(depth.flatten(1), fraction) for fraction in (0.01, 0.99))
    extent = (high - low).clamp_min(torch.finfo(depth.dtype).tiny)[:, None, None]
    jumps = (one - other).abs() / extent
    defects = (jumps > DEFECT).double()
    scores = [
        defects.mean((1, 2)),
        (defects.mean(2) > BROKEN).double().mean(1),
        (jumps.mean(2) > SEVERE).double().mean(1),
    ]
    return JointValues(torch.stack(scores, dim=1), torch.ones_like(extent[:, 0, 0], dtype=torch.bool))


def _ranked(values: torch.Tensor, fraction: float) -> torch.Tensor:
    """The value (B,) of each row (B, n) that this fraction of the row lies at or below."""
    return values.kthvalue(max(1, math.ceil(fraction * values.shape[1])), dim=1).values


CUBE_SEAMS = JointMetric(
    task="depth",
    names=("cube_defects", "cube_prevalence", "cube_severity"),
    description="needs no ground truth: jumps of predicted depth across the 12 edges of a cube along the axes, one "
    "pixel to either side, divided by the range of percentiles 1 to 99 of the image; fraction of jumps above 0.02, of "
    "edges with more than 10 % of them, and of edges with a mean above 0.015; mean over images",
    of_batch=cube_seam_scores,
)
