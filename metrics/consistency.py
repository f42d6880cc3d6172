"""Whether predicted normals are those of the predicted depth."""

import torch

from metrics.constants import rays, solid_angles
from metrics.joint import JointMetric, JointValues
from metrics.normal import angle_between
from metrics.protocol import SMALLEST_DEPTH, SOLID_ANGLE
from metrics.weighted import weighted_medians

_SMOOTH = 0.8  # the nearest and the farthest neighbor of a pixel that is not at an edge differ by less than this factor


def normals_of_depth(depth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normals of the surface that depth describes, in the camera frame, toward the camera; columns wrap around.

    The cross product of the differences between the points of the pixels below and above, and right and left.

    Args:
        depth: (B, H, W) float64 meters along the ray, above 0.

    Returns:
        Vectors (B, 3, H, W) of any length, and where they are known, (B, H, W) bool: not in the first and the last row,
        and not at edges, where the four depths around a pixel differ by more than a factor of 1 / 0.8.
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


def consistency(predictions: dict[str, torch.Tensor], batch: dict) -> JointValues:
    """Mean, median and mean by solid angle, (B, 3), of the angle in degrees between predicted normals and those of the
    predicted depth (`normals_of_depth`); no ground truth is used."""
    depth = predictions["depth"][:, 0].double().clamp_min(SMALLEST_DEPTH)
    implied, smooth = normals_of_depth(depth)
    angle = angle_between(predictions["normal"], implied, dim=1).where(smooth, 0)
    by_row, counts = angle.sum(-1), smooth.sum(-1).double()
    row_weights = solid_angles(*depth.shape[1:], depth.device)
    mean, weighted = ((by_row * w).sum(-1) / (counts * w).sum(-1) for w in (torch.ones_like(row_weights), row_weights))
    median = weighted_medians(angle.flatten(1), smooth.double().flatten(1))
    return JointValues(torch.stack([mean, median, weighted], dim=1), counts.sum(-1) > 0)


CONSISTENCY = JointMetric(
    task="normal",
    names=("consistency", "consistency_median", f"consistency{SOLID_ANGLE}"),
    description="needs no ground truth: angle in degrees between the predicted normals and those of the predicted "
    "depth, by differences of the points beside each pixel, without edges of depth; mean over images of the mean, or "
    "median",
    of_batch=consistency,
)
