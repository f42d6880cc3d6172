"""Geometry of the sphere: the only place where angles, pixels, rays and the icosphere are defined.

One convention, used for all panoramas (for perspective images see `utils.pinhole`: their depth is along the
optical axis):

* **Axes** (panorama camera frame): x right, y **down**, z forward (the center of the image).
* **Angles** in radians: longitude ``u = atan2(x, z)`` in (-pi, pi], growing to the right;
  latitude ``v = atan2(y, hypot(x, z))`` in [-pi/2, pi/2], growing **downward**.
* **Pixels** of an equirectangular (ERP) image of H x W: pixel (0, 0) is the top left one and its *center* is at
  ``(row, col) = (0, 0)``, so ``col = u / 2pi * W + W/2 - 0.5`` and ``row = v / pi * H + H/2 - 0.5``.
  Longitude wraps around, latitude does not.
* **Rays** are unit vectors; *depth* is the distance in meters along the ray, never the z coordinate.

Everything here is NumPy in float64: constants that are computed once and then converted to torch.
"""

from functools import lru_cache

import numpy as np


def rays_to_angles(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude u and latitude v (radians, each of shape (...)) of vectors (..., 3) of any length but zero."""
    x, y, z = np.moveaxis(rays, -1, 0)
    return np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))


def angles_to_rays(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Unit rays (..., 3) of longitudes u and latitudes v in radians."""
    return np.stack(np.broadcast_arrays(np.cos(v) * np.sin(u), np.sin(v), np.cos(v) * np.cos(u)), axis=-1)


def angles_to_pixels(u: np.ndarray, v: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Fractional (row, col) of longitudes u and latitudes v (radians) in an ERP image of height x width pixels."""
    return v / np.pi * height + height / 2 - 0.5, u / (2 * np.pi) * width + width / 2 - 0.5


def pixels_to_angles(row: np.ndarray, col: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Longitude u and latitude v (radians) of fractional pixel positions: the inverse of `angles_to_pixels`."""
    return (col + 0.5 - width / 2) / width * 2 * np.pi, (row + 0.5 - height / 2) / height * np.pi


@lru_cache(maxsize=8)
def erp_rays(height: int, width: int) -> np.ndarray:
    """Unit rays (H, W, 3) through the pixel centers of an ERP image. The array is cached and read-only."""
    return _read_only(erp_ray_rows(np.arange(height), height, width))


def erp_ray_rows(rows: np.ndarray, height: int, width: int) -> np.ndarray:
    """Unit rays (n, W, 3) of the given rows (n,) of `erp_rays`, for images whose rays would not fit in memory."""
    return angles_to_rays(*pixels_to_angles(rows[:, None], np.arange(width)[None, :], height, width))


@lru_cache(maxsize=8)
def erp_solid_angles(height: int, width: int) -> np.ndarray:
    """Exact solid angle in steradians of a pixel in each row, (H,); the whole image sums to 4 pi."""
    edges = np.linspace(-np.pi / 2, np.pi / 2, height + 1)
    return _read_only(np.diff(np.sin(edges)) * 2 * np.pi / width)


def depth_to_points(depth: np.ndarray) -> np.ndarray:
    """Points (H, W, 3) in meters, camera frame, of a depth map (H, W) in meters along the ray."""
    return depth[..., None] * erp_rays(*depth.shape)


def yaw_rotation(angle: float) -> np.ndarray:
    """3x3 rotation about the vertical that moves a direction at longitude u to u + angle (radians)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


@lru_cache(maxsize=8)
def icosphere(level: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (10 * 4^level + 2, 3) on the unit sphere and triangles (20 * 4^level, 3) of the icosphere.

    The regular icosahedron has vertex 0 at the top, (0, -1, 0), and vertex 1 in the plane x = 0 with z > 0. Every level
    splits each edge at its midpoint and projects the new vertices onto the sphere. Both arrays are read-only.

    Raises:
        ValueError: when level is negative.
    """
    if level < 0:
        raise ValueError(f"icosphere level must be 0 or more, got {level}")
    if level == 0:
        return _icosahedron()
    vertices, faces = icosphere(level - 1)
    # Two faces share each edge: unique edges give each midpoint once.
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique_edges, edge_of_corner = np.unique(edges, axis=0, return_inverse=True)
    midpoints = vertices[unique_edges].mean(axis=1)
    midpoints /= np.linalg.norm(midpoints, axis=1, keepdims=True)
    ab, bc, ca = (len(vertices) + edge_of_corner.reshape(-1, 3)).T
    a, b, c = faces.T
    # (F, 4 children, 3 corners) -> (4F, 3)
    children = np.stack([[a, ab, ca], [b, bc, ab], [c, ca, bc], [ab, bc, ca]]).transpose(2, 0, 1).reshape(-1, 3)
    return _read_only(np.concatenate([vertices, midpoints])), _read_only(children)


def _icosahedron() -> tuple[np.ndarray, np.ndarray]:
    """Two poles and two rings of five vertices at latitudes -atan(1/2) (upper) and +atan(1/2) (lower, y is down)."""
    ring = 2 * np.pi / 5 * np.arange(5)
    latitude = np.arctan(0.5)
    upper = angles_to_rays(ring, -latitude)
    lower = angles_to_rays(ring + np.pi / 5, latitude)
    vertices = np.concatenate([[[0.0, -1.0, 0.0]], upper, lower, [[0.0, 1.0, 0.0]]])
    i = np.arange(5)
    j = (i + 1) % 5
    top, bottom = np.zeros(5, int), np.full(5, 11)
    caps = np.concatenate([np.stack([top, 1 + i, 1 + j], 1), np.stack([bottom, 6 + j, 6 + i], 1)])
    belt = np.concatenate([np.stack([1 + i, 6 + i, 1 + j], 1), np.stack([6 + i, 6 + j, 1 + j], 1)])
    return _read_only(vertices), _read_only(np.concatenate([caps, belt]))


def _read_only(array: np.ndarray) -> np.ndarray:
    """Make a cached array read-only, as all callers share it."""
    array.flags.writeable = False
    return array
