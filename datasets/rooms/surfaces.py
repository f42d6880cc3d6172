"""Hit points, their normals and texture coordinates."""

from dataclasses import dataclass, fields

import numpy as np

from datasets.rooms.casting import Camera, RayHits
from datasets.rooms.shapes import Face, Kind, SolidTable
from utils.sphere import erp_rays, yaw_rotation

# Local normals of the faces except CURVED, in the order of `Face`; y is down.
_FACE_NORMALS = np.array([[1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1], [0, -1, 0], [0, 1, 0], [0, 0, 0]], float)


@dataclass(frozen=True)
class Surfaces:
    """The hit points of an image, flattened to N = H * W: points and unit normals (N, 3), world axes, meters."""

    points: np.ndarray
    normals: np.ndarray
    local: np.ndarray  # (N, 3) in the axes of the solid, from its center; y down


@dataclass(frozen=True)
class Patch:
    """Texture coordinates of N surface points: each attribute is (N,).

    Attributes:
        s, t: meters from the center of the face, along it; t is upward on upright faces.
        half_s, half_t: half sizes of the face in meters.
        footprint: size of a pixel on the surface in meters, for filtering.
        seed: integer, different for each solid.
    """

    s: np.ndarray
    t: np.ndarray
    half_s: np.ndarray
    half_t: np.ndarray
    footprint: np.ndarray
    seed: np.ndarray

    def subset(self, index: np.ndarray) -> "Patch":
        """The points with these indices."""
        return Patch(*(getattr(self, field.name)[index] for field in fields(self)))


def locate(hits: RayHits, solids: SolidTable, camera: Camera) -> Surfaces:
    """Points and normals of all hits of an ERP image."""
    return locate_on_rays(hits, solids, camera, erp_rays(*hits.depth.shape).reshape(-1, 3) @ yaw_rotation(camera.yaw).T)


def locate_on_rays(hits: RayHits, solids: SolidTable, camera: Camera, rays: np.ndarray) -> Surfaces:
    """Points and normals of all hits of unit rays (N, 3), world axes."""
    index, face = hits.solid.ravel(), hits.face.ravel()
    points = np.array([camera.x, -camera.height, camera.z]) + hits.depth.reshape(-1, 1) * rays
    local_x, local_z = solids.to_local(index, points[:, 0], points[:, 2])
    local = np.stack([local_x, points[:, 1] + ((solids.low + solids.high) / 2)[index], local_z], axis=-1)

    normals = _FACE_NORMALS[face]
    curved = np.flatnonzero(face == Face.CURVED)
    outwards = local[curved]
    outwards[solids.kind[index[curved]] == Kind.CYLINDER, 1] = 0
    normals[curved] = outwards / np.linalg.norm(outwards, axis=1, keepdims=True)
    cos, sin = np.cos(solids.yaw)[index], np.sin(solids.yaw)[index]
    x, z = normals[:, 0].copy(), normals[:, 2].copy()
    normals[:, 0], normals[:, 2] = x * cos + z * sin, z * cos - x * sin
    return Surfaces(points, normals, local)


def to_patch(
    surfaces: Surfaces, hits: RayHits, solids: SolidTable, camera: Camera, pixel_angle: float | None = None
) -> Patch:
    """The texture coordinates of all hits.

    Args:
        pixel_angle: angular size of a pixel in radians; None: pi / H, as in an ERP image.
    """
    index, face = hits.solid.ravel(), hits.face.ravel()
    x, y, z = surfaces.local.T
    half_x, half_z = solids.half_x[index], solids.half_z[index]
    half_y = ((solids.high - solids.low) / 2)[index]
    along_z, level, curved = face <= Face.LEFT, (face == Face.TOP) | (face == Face.BOTTOM), face == Face.CURVED
    s, half_s = np.where(along_z, z, x), np.where(along_z, half_z, half_x)
    around = np.arctan2(x[curved], z[curved])
    s[curved], half_s[curved] = around * half_x[curved], np.pi * half_x[curved]
    t, half_t = np.where(level, z, -y), np.where(level, half_z, half_y)

    depth = hits.depth.ravel()
    away = surfaces.points - np.array([camera.x, -camera.height, camera.z])
    facing = np.abs(np.einsum("ij,ij->i", away, surfaces.normals)) / depth
    # At a grazing angle a pixel covers a long, narrow area: it is replaced by a square of the same area.
    footprint = depth * (pixel_angle or np.pi / hits.depth.shape[0]) / np.sqrt(np.maximum(facing, 0.05))
    meters = (a.astype(np.float32) for a in (s, t, half_s, half_t, footprint))
    return Patch(*meters, seed=index)
