"""Depth and normals of a panorama from perspective views with known cameras.

The centers of the views may differ. So where a ray of the panorama meets a view depends on the distance of what it
meets, which is searched for: the distance that the view has, at the place where the point at this distance appears.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from utils.pinhole import Pinhole
from utils.sphere import erp_rays

_STEPS = 4  # of the search; each leaves less than a tenth of the error, for centers a few centimeters apart
_MAX_MISS = 0.004  # radians between the ray and what was found; more: something else is in front, or at its border
_SMOOTH = 1.1  # ratio of neighboring depths, across which they are interpolated
_MARGIN = 0.1  # radians around the field of view, where points nearby may still be seen


@dataclass(frozen=True)
class PlacedView:
    """A perspective view beside a panorama's center.

    Attributes:
        camera: of depth (H, W) in meters along the optical axis, 0 = missing.
        rotation: (3, 3) from camera axes to those of the panorama.
        center: (3,) in meters, axes of the panorama.
        normal: (H, W, 3) as stored; None: no normals.
    """

    camera: Pinhole
    rotation: np.ndarray
    center: np.ndarray
    depth: np.ndarray
    normal: np.ndarray | None = None


@dataclass(frozen=True)
class StitchedMaps:
    """A panorama of H x W.

    Attributes:
        depth: (H, W) float64 in meters along the ray, 0 = missing.
        normal: (H, W, 3) unit vectors in the panorama's axes, zero = missing.
        disagreement: median relative difference in depth where views overlap; NaN: they do not.
    """

    depth: np.ndarray
    normal: np.ndarray
    disagreement: float


def stitch(
    views: Sequence[PlacedView], height: int, decode_normals: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> StitchedMaps:
    """The panorama (height, 2 height) of some views. Of several that see a point, the one wins in which it is closest
    to the optical axis; for normals, of those that have one there.

    Args:
        decode_normals: from stored normals (N, 3) to unit vectors (N, 3) in camera axes, zero = missing.
    """
    rays = erp_rays(height, 2 * height).reshape(-1, 3)
    depth, normal = np.zeros(len(rays)), np.zeros_like(rays)
    closeness = {"depth": np.full(len(rays), -1.0), "normal": np.full(len(rays), -1.0)}
    differences = []
    for view in views:
        pixels, distance, row, col = find_distances(view, rays)
        away = distance[:, None] * rays[pixels] - view.center
        cosine = away @ view.rotation[:, 2] / np.linalg.norm(away, axis=1)
        before = depth[pixels]
        twice = before > 0
        differences.append(np.abs(distance - before)[twice] / before[twice])
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
    """What a view knows of unit rays (N, 3) from the panorama's center.

    Returns:
        Indices (M,) of rays that meet something seen by the view, distances (M,) in meters along them, and rows and
        columns (M,) where it is seen.
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
        found = _unproject(camera, row, col, _interpolate(inverse, row, col)) + center
        distance = (found * directions).sum(axis=1)
    missed = np.linalg.norm(found - distance[:, None] * directions, axis=1)
    met = missed < _MAX_MISS * distance  # False for NaN
    return pixels[met], distance[met], row[met], col[met]


def _unproject(camera: Pinhole, row: np.ndarray, col: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Points (N, 3) at depth z (N,) in camera axes."""
    return np.stack([(col - camera.cx) / camera.fx * z, (row - camera.cy) / camera.fy * z, z], axis=-1)


def _interpolate(inverse: np.ndarray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Depth (N,) of 1 / depth (H, W) at fractional positions: bilinear, which is exact on planes, or the nearest
    pixel's at edges; NaN where it is missing.
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
