"""Stitches depth and normals of a panorama from perspective views with known cameras.

The centers of the views may differ. Where a ray of the panorama appears in a view then depends on the distance along
the ray, which is found by fixed-point iteration: the point at this distance must have the depth of the view there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from utils.pinhole import Pinhole
from utils.sphere import erp_rays

_STEPS = 4  # iterations; each leaves less than a tenth of the error for centers a few centimeters apart
_MAX_MISS = 0.004  # radians between the ray and the found point; more: occluded, or at the border of an object
_SMOOTH = 1.1  # maximum ratio of neighboring depths that are interpolated
_MARGIN = 0.1  # radians around the field of view in which near points may still be seen


@dataclass(frozen=True)
class PlacedView:
    """A perspective view near the center of a panorama.

    Attributes:
        camera: intrinsics.
        rotation: (3, 3) from camera to panorama axes.
        center: (3,) meters from the panorama's center, panorama axes.
        depth: (H, W) meters along the optical axis, 0 = missing.
        normal: (H, W, 3) as stored; None: no normals.
    """

    camera: Pinhole
    rotation: np.ndarray
    center: np.ndarray
    depth: np.ndarray
    normal: np.ndarray | None = None


@dataclass(frozen=True)
class StitchedMaps:
    """Maps of a panorama of H x W.

    Attributes:
        depth: (H, W) float64, meters along the ray, 0 = missing.
        normal: (H, W, 3) unit vectors in panorama axes, zero = missing.
        disagreement: median relative difference in depth where views overlap; NaN: no overlap.
    """

    depth: np.ndarray
    normal: np.ndarray
    disagreement: float


def stitch(
    views: Sequence[PlacedView], height: int, decode_normals: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> StitchedMaps:
    """The panorama (height, 2 height) of some views.

    Each pixel is taken from the view with a valid depth (or a valid normal) in which it is closest to the optical axis.

    Args:
        decode_normals: from stored normals (N, 3) to unit vectors (N, 3) in camera axes, zero = missing.
    """
    rays = erp_rays(height, 2 * height).reshape(-1, 3)
    depth, normal = np.zeros(len(rays)), np.zeros_like(rays)
    closeness = {"depth": np.full(len(rays), -1.0), "normal": np.full(len(rays), -1.0)}
    differences = []
    for view in views:
        pixels, distance, row, col = find_distances(view, rays)
        from_view = distance[:, None] * rays[pixels] - view.center
        cosine = from_view @ view.rotation[:, 2] / np.linalg.norm(from_view, axis=1)
        previous = depth[pixels]
        overlap = previous > 0
        differences.append(np.abs(distance - previous)[overlap] / previous[overlap])
        best = cosine > closeness["depth"][pixels]
        closeness["depth"][pixels[best]], depth[pixels[best]] = cosine[best], distance[best]
        if view.normal is not None:
            vectors = decode_normals(view.normal[_nearest(row), _nearest(col)])
            best = vectors.any(axis=-1) & (cosine > closeness["normal"][pixels])
            closeness["normal"][pixels[best]], normal[pixels[best]] = cosine[best], vectors[best] @ view.rotation.T
    all_differences = np.concatenate(differences) if differences else np.zeros(0)
    disagreement = float(np.median(all_differences)) if all_differences.size else float("nan")
    return StitchedMaps(depth.reshape(height, -1), normal.reshape(height, -1, 3), disagreement)


def find_distances(view: PlacedView, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distances along unit rays (N, 3) from the panorama's center according to a view.

    Returns:
        Indices (M,) of the rays with a distance, their distances (M,) in meters, and fractional rows and columns (M,)
        of these points in the view.
    """
    camera = view.camera
    inverse = np.divide(1, view.depth, out=np.zeros(view.depth.shape), where=view.depth > 0)
    row, col = np.array([0, 0, 1, 1]) * (camera.height - 1), np.array([0, 1, 0, 1]) * (camera.width - 1)
    corners = _unproject(camera, row, col, np.ones(4))
    widest = np.arccos((1 / np.linalg.norm(corners, axis=1)).min())
    pixels = np.flatnonzero(rays @ view.rotation[:, 2] > np.cos(widest + _MARGIN))
    directions = rays[pixels] @ view.rotation  # in camera axes
    center = view.center @ view.rotation
    known = inverse[inverse > 0]
    distance = np.full(len(pixels), 1 / np.median(known) if known.size else np.nan)
    for _ in range(_STEPS if view.center.any() else 1):
        row, col = camera.project(distance[:, None] * directions - center)
        points = _unproject(camera, row, col, _interpolate(inverse, row, col)) + center
        distance = (points * directions).sum(axis=1)
    miss = np.linalg.norm(points - distance[:, None] * directions, axis=1)
    hit = miss < _MAX_MISS * distance  # False for NaN
    return pixels[hit], distance[hit], row[hit], col[hit]


def _unproject(camera: Pinhole, row: np.ndarray, col: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Points (N, 3) at depth z (N,) in camera axes."""
    return np.stack([(col - camera.cx) / camera.fx * z, (row - camera.cy) / camera.fy * z, z], axis=-1)


def _interpolate(inverse: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Depth (N,) at fractional positions, of inverse depth (H, W), 0 = missing; NaN where it is missing.

    Interpolation of the inverse is bilinear, which is exact on planes; at edges the nearest pixel is taken.
    """
    outside = ~np.isfinite(row)
    row, col = np.nan_to_num(row), np.nan_to_num(col)
    last_row, last_col = np.array(inverse.shape) - 1
    top, left = (np.floor(p).astype(np.int64).clip(0, last - 1) for p, last in ((row, last_row), (col, last_col)))
    down, right = (row - top).clip(0, 1), (col - left).clip(0, 1)
    corners = [inverse[top + i, left + j] for i in (0, 1) for j in (0, 1)]
    weights = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
    smooth = np.maximum.reduce(corners) < _SMOOTH * np.minimum.reduce(corners)
    mean = sum(weight * corner for weight, corner in zip(weights, corners, strict=True))
    value = np.where(smooth, mean, inverse[_nearest(row).clip(0, last_row), _nearest(col).clip(0, last_col)])
    return np.divide(1, value, out=np.full(len(value), np.nan), where=(value > 0) & ~outside)


def _nearest(position: np.ndarray) -> np.ndarray:
    return np.rint(position).astype(np.int64)
