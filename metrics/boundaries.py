"""F1 score of depth edges: whether predicted depth has edges where the ground truth does."""

import math

import torch
import torch.nn.functional as F

from metrics.extra import ExtraMetric, ExtraValues, f1_score
from metrics.protocol import SMALLEST_DEPTH

RATIOS = (1.05, 1.1, 1.15, 1.2, 1.25)  # an edge is where the depths of neighboring pixels differ by more
RADII = (1, 2, 3)  # pixels


def largest_steps(log_depth: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest absolute differences of log depth to the four neighbors.

    Args:
        log_depth: ln depth, (B, H, W); columns wrap around.
        valid: (B, H, W) bool.

    Returns:
        The differences (B, H, W), and where the pixel and all its neighbors are valid, (B, H, W) bool.
    """
    steps, all_valid = torch.zeros_like(log_depth), valid.clone()
    for dim in (1, 2):
        for shift in (1, -1):
            steps = torch.maximum(steps, (log_depth - log_depth.roll(shift, dim)).abs())
            all_valid &= valid.roll(shift, dim)
    all_valid[:, [0, -1]] = False  # rolling rows does not give the neighbors across the poles
    return steps, all_valid


def dilated(edges: torch.Tensor, radius: int) -> torch.Tensor:
    """Dilate edges (B, H, W) by a square of `radius` pixels in each direction; columns wrap around, rows do not."""
    padded = F.pad(edges[:, None].float(), (radius, radius, 0, 0), mode="circular")
    padded = F.pad(padded, (0, 0, radius, radius))
    return F.max_pool2d(padded, 2 * radius + 1, stride=1)[:, 0] > 0


def boundary_scores(predictions: dict[str, torch.Tensor], batch: dict) -> ExtraValues:
    """F1 scores (B, 3) of depth edges, one for each of the RADII: means over the RATIOS with true edges.

    Precision is the fraction of predicted edge pixels within the radius of a true one; recall is the fraction of true
    edge pixels within the radius of a predicted one. Pixels that are invalid or have an invalid neighbor are ignored.
    """
    valid = batch["depth_mask"][:, 0]
    depths = predictions["depth"][:, 0], batch["depth"][:, 0].where(valid, 1)
    (p_steps, _), (d_steps, all_valid) = (
        largest_steps(depth.float().clamp_min(SMALLEST_DEPTH).log(), valid) for depth in depths
    )
    scores = []  # by ratio: (radii, B)
    has_edges = []  # by ratio: (B,)
    for ratio in RATIOS:
        predicted, true = ((steps > math.log(ratio)) & all_valid for steps in (p_steps, d_steps))
        has_edges.append(true.any(-1).any(-1))
        scores.append(torch.stack([_f1(predicted, true, radius) for radius in RADII]))
    has_edges = torch.stack(has_edges).double()  # (ratios, B)
    f1 = torch.stack(scores)  # (ratios, radii, B)
    mean_f1 = (f1 * has_edges[:, None]).sum(0) / has_edges.sum(0)  # (radii, B)
    return ExtraValues(mean_f1.T, has_edges.sum(0) > 0)


def _f1(predicted: torch.Tensor, true: torch.Tensor, radius: int) -> torch.Tensor:
    """F1 scores (B,) of predicted edges (B, H, W) at one radius."""
    precision, recall = (
        (edges & dilated(others, radius)).sum((1, 2)).double() / edges.sum((1, 2)).clamp_min(1)
        for edges, others in ((predicted, true), (true, predicted))
    )
    return f1_score(precision, recall)


BOUNDARIES = ExtraMetric(
    task="depth",
    names=tuple(f"boundary_f1_{radius}" for radius in RADII),
    description="F1 of edges, where depths of neighbors differ by more than a factor of 1.05, 1.1, 1.15, 1.2 or 1.25 "
    "(mean over them), within 1, 2 or 3 pixels, across the left/right border too; predictions as they are; mean over "
    "images",
    compute=boundary_scores,
)
