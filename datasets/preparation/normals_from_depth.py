"""Surface normals computed from depth, for comparison with stored normals."""

import numpy as np

from utils.sphere import depth_to_points


def normals_from_depth(depth: np.ndarray, reach: int = 1) -> np.ndarray:
    """Unit normals (H, W, 3) in the camera frame, toward the camera, of depth (H, W) in meters along the ray.

    Each is the cross product of two differences: between the points `reach` pixels above and below, and left and right.
    Zero where one of these points is missing (depth not above 0 or not finite), in the `reach` rows at each pole, and
    at edges, where the four depths differ too much.

    Args:
        reach: half the length of the differences in pixels; larger values are less sensitive to quantization of depth,
            smaller ones are sharper.
    """
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float64)
    return normals_of_points(depth_to_points(depth), depth, reach)


def normals_of_points(points: np.ndarray, depth: np.ndarray, reach: int) -> np.ndarray:
    """Unit normals (H, W, 3) toward the camera of points (H, W, 3) with depth (H, W), 0 = missing; columns wrap around.

    Zero where a point `reach` pixels away is missing, in the `reach` outermost rows, and at edges of depth.
    """
    left, right = np.roll(points, reach, axis=1), np.roll(points, -reach, axis=1)
    up, down = np.roll(points, reach, axis=0), np.roll(points, -reach, axis=0)
    normal = np.cross(down - up, right - left)
    normal *= -np.sign((normal * points).sum(-1, keepdims=True))  # toward the camera, which is at the origin
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    around = np.stack([np.roll(depth, shift, axis) for axis in (0, 1) for shift in (reach, -reach)])
    smooth = (around.min(axis=0) > 0.8 * around.max(axis=0)) & (around.min(axis=0) > 0) & (depth > 0)
    smooth[:reach] = smooth[-reach:] = False
    return np.where(smooth[..., None] & (length > 0), normal / np.where(length > 0, length, 1), 0)
