"""Chamfer distance and F1 scores between the 3D points of predicted and ground truth depth."""

import torch

from metrics.constants import fibonacci_pixels, rays
from metrics.extra import ExtraMetric, ExtraValues, f1_score

THRESHOLDS = (0.05, 0.1, 0.25)  # meters
NUM_DIRECTIONS = 4096


def point_scores(predictions: dict[str, torch.Tensor], batch: dict) -> ExtraValues:
    """Chamfer distance and F1 score for each of the THRESHOLDS, (B, 1 + n).

    P and Q are the points of prediction and ground truth in those of NUM_DIRECTIONS evenly distributed directions that
    are valid. Precision is the fraction of P with a point of Q nearer than the threshold; recall is the fraction of Q
    with a point of P nearer than the threshold. The Chamfer distance is the mean of the two mean distances to the
    nearest point.
    """
    depth = batch["depth"]
    pixels = fibonacci_pixels(NUM_DIRECTIONS, *depth.shape[-2:], depth.device)
    directions = rays(*depth.shape[-2:], depth.device).flatten(1)[:, pixels].T.float()  # (n, 3)
    predicted, target, valid = (
        maps.flatten(1)[:, pixels] for maps in (predictions["depth"], depth, batch["depth_mask"])
    )
    scores = [
        _scores(p[:, None] * directions, d.where(is_valid, 0)[:, None] * directions, is_valid)
        for p, d, is_valid in zip(predicted.float(), target.float(), valid, strict=True)
    ]
    return ExtraValues(torch.stack(scores), valid.any(1))


def _scores(predicted: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Scores (1 + thresholds,) float64 of an image, from points (n, 3) and which of them are valid (n,)."""
    # Not by matrix multiplication, whose rounding errors are as large as small distances.
    distances = torch.cdist(predicted, target, compute_mode="donot_use_mm_for_euclid_dist")
    distances = distances.masked_fill(~(valid[:, None] & valid), torch.inf)
    to_target, to_predicted = distances.amin(1), distances.amin(0)
    count = valid.sum()

    def mean(values: torch.Tensor) -> torch.Tensor:
        return values.where(valid, 0).double().sum() / count

    chamfer = (mean(to_target) + mean(to_predicted)) / 2
    f1 = [f1_score(mean(to_target < limit), mean(to_predicted < limit)) for limit in THRESHOLDS]
    return torch.stack([chamfer, *f1])


POINTS = ExtraMetric(
    task="depth",
    names=("chamfer", *(f"f1_{limit:.2f}" for limit in THRESHOLDS)),
    description=f"meters, and fractions: points of {NUM_DIRECTIONS} directions, evenly distributed over the sphere; "
    "mean of the mean distances to the nearest point of the other set, and F1 of being nearer than 0.05, 0.1, 0.25 m; "
    "predictions as they are; mean over images",
    compute=point_scores,
)
