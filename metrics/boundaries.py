"""Whether predicted depth has its edges where the ground truth has them."""

import math

import torch
import torch.nn.functional as F

from metrics.joint import JointMetric, JointValues
from metrics.protocol import SMALLEST_DEPTH

RATIOS = (1.05, 1.1, 1.15, 1.2, 1.25)  # of the depths of neighbors: an edge is above it
RADII = (1, 2, 3)  # pixels


def largest_steps(log_depth: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest absolute difference of ln depth (B, H, W) to the four neighbors, columns wrapping around, and where
    all five pixels are valid, (B, H, W)."""
    steps, known = torch.zeros_like(log_depth), valid.clone()
    for dim in (1, 2):
        for shift in (1, -1):
            steps = torch.maximum(steps, (log_depth - log_depth.roll(shift, dim)).abs())
            known &= valid.roll(shift, dim)
    known[:, [0, -1]] = False  # their neighbors across the poles are others
    return steps, known


def dilated(edges: torch.Tensor, radius: int) -> torch.Tensor:
    """Where an edge (B, H, W) is within a square of `radius` pixels; columns wrap around, rows do not."""
    padded = F.pad(edges[:, None].float(), (radius, radius, 0, 0), mode="circular")
    padded = F.pad(padded, (0, 0, radius, radius))
    return F.max_pool2d(padded, 2 * radius + 1, stride=1)[:, 0] > 0


def boundary_scores(predictions: dict[str, torch.Tensor], batch: dict) -> JointValues:
    """F1 scores (B, 3) of the edges of depth, at each of the RADII: means over the RATIOS that have true edges.

    Precision is the fraction of predicted edges within that many pixels of a true one, recall that of true edges within
    that many pixels of a predicted one. Only pixels count that are valid with their neighbors.
    """
    valid = batch["depth_mask"][:, 0]
    depths = predictions["depth"][:, 0], batch["depth"][:, 0].where(valid, 1)
    (p_steps, _), (d_steps, known) = (
        largest_steps(depth.float().clamp_min(SMALLEST_DEPTH).log(), valid) for depth in depths
    )
    scores = []  # of each radius and ratio (B,)
    has_edges = []  # of each ratio (B,)
    for ratio in RATIOS:
        predicted, true = ((steps > math.log(ratio)) & known for steps in (p_steps, d_steps))
        has_edges.append(true.any(-1).any(-1))
        scores.append([_f1(predicted, true, radius) for radius in RADII])
    known_ratios = torch.stack(has_edges).double()  # (ratios, B)
    f1 = torch.stack([torch.stack(of_ratio) for of_ratio in scores])  # (ratios, radii, B)
    total = (f1 * known_ratios[:, None]).sum(0) / known_ratios.sum(0)
    return JointValues(total.T, known_ratios.sum(0) > 0)


def _f1(predicted: torch.Tensor, true: torch.Tensor, radius: int) -> torch.Tensor:
    precision, recall = (
        (edges & dilated(others, radius)).sum((1, 2)).double() / edges.sum((1, 2)).clamp_min(1)
        for edges, others in ((predicted, true), (true, predicted))
    )
    total = precision + recall
    return torch.where(total > 0, 2 * precision * recall / total, total)


BOUNDARIES = JointMetric(
    task="depth",
    names=tuple(f"boundary_f1_{radius}" for radius in RADII),
    description="F1 of edges, where depths of neighbors differ by more than a factor of 1.05, 1.1, 1.15, 1.2 or 1.25 "
    "(mean over them), within 1, 2 or 3 pixels, across the left/right border too; predictions as they are; mean over "
    "images",
    of_batch=boundary_scores,
)
