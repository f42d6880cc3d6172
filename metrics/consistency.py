"""Consistency of predicted normals with predicted depth."""

import torch

from metrics.constants import rays, solid_angles
from metrics.extra import ExtraMetric, ExtraValues
from metrics.normal import angle_between
from metrics.protocol import SMALLEST_DEPTH, SOLID_ANGLE
from metrics.weighted import weighted_medians

_SMOOTH = 0.8  # a pixel is at an edge if the depth of its nearest neighbor is at most this fraction of the farthest's


def normals_of_depth(depth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normals of the surface that a depth map describes, toward the camera, in its frame; columns wrap around.

    They are cross products of the differences between the points below and above and right and left of each pixel.

    Args:
        depth: (B, H, W) float64 meters along the ray, above 0.

    Returns:
        Vectors (B, 3, H, W) of any length, and where they are valid, (B, H, W) bool: neither in the first and the last
        row nor at edges, where the depths of the four neighbors differ by a factor of 1 / 0.8 or more.
    """
    points = depth[:, None] * rays(*depth.shape[1:], depth.device)
    left_right = points.roll(-1, dims=-1) - points.roll(1, dims=-1)
    up_down = points.roll(-1, dims=-2) - points.roll(1, dims=-2)
    normal = torch.linalg.cross(up_down, left_right, dim=1)
    normal = normal * -(normal * points).sum(1, keepdim=True).sign()
    around = torch.stack([depth.roll(shift, dims=dim) for dim in (1, 2) for shift in (1, -1)])
    smooth = around.amin(0) > _SMOOTH * around.amax(0)
    smooth[:, [0, -1]] = False
    return normal, smooth


def consistency(predictions: dict[str, torch.Tensor], batch: dict) -> ExtraValues:
    """Angles in degrees between predicted normals and the normals of the predicted depth, see `normals_of_depth`.

    Mean, median and mean weighted by solid angle, (B, 3); no ground truth is used.
    """
    depth = predictions["depth"][:, 0].double().clamp_min(SMALLEST_DEPTH)
    implied, smooth = normals_of_depth(depth)
    angle = angle_between(predictions["normal"], implied, dim=1).where(smooth, 0)
    by_row, counts = angle.sum(-1), smooth.sum(-1).double()
    row_weights = solid_angles(*depth.shape[1:], depth.device)
    mean, weighted = ((by_row * w).sum(-1) / (counts * w).sum(-1) for w in (torch.ones_like(row_weights), row_weights))
    median = weighted_medians(angle.flatten(1), smooth.double().flatten(1))
    return ExtraValues(torch.stack([mean, median, weighted], dim=1), counts.sum(-1) > 0)


CONSISTENCY = ExtraMetric(
    task="normal",
    names=("consistency", "consistency_median", f"consistency{SOLID_ANGLE}"),
    description="needs no ground truth: angle in degrees between the predicted normals and those of the predicted "
    "depth, by differences of the points beside each pixel, without edges of depth; mean over images of the mean, or "
    "median",
    compute=consistency,
)
