"""Renders a room through a pinhole camera, with exact ground truth, and casts arbitrary rays."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from datasets.rooms.casting import CORNER, TINY, Camera, RayHits
from datasets.rooms.lighting import develop_weighted
from datasets.rooms.render import RenderedRoom, part_labels, shade
from datasets.rooms.scene import Room
from datasets.rooms.shapes import Face, Kind, SolidTable
from datasets.rooms.surfaces import locate_on_rays, to_patch
from utils.pinhole import Pinhole
from utils.sphere import yaw_rotation

_NEAR = 0.01  # meters in front of the camera: only corners beyond are projected


@dataclass(frozen=True)
class Pose:
    """Position and orientation of a camera.

    Attributes:
        camera: position and heading.
        pitch: radians downward.
        roll: radians clockwise about the optical axis.
    """

    camera: Camera
    pitch: float = 0.0
    roll: float = 0.0

    def rotation(self) -> np.ndarray:
        """Rotation (3, 3) from camera to world axes."""
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        down = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        clockwise = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        return yaw_rotation(self.camera.yaw) @ down @ clockwise


def random_pose(room: Room, rng: np.random.Generator) -> Pose:
    """The pose of a handheld camera, at the position of the room's camera, which has free space around it."""
    height, yaw = rng.uniform(1.1, 1.7), rng.uniform(-np.pi, np.pi)
    pitch, roll = np.radians(rng.uniform(-5, 25)), np.radians(rng.uniform(-3, 3))
    return Pose(Camera(room.camera.x, room.camera.z, height, yaw), pitch, roll)


def render_perspective(room: Room, pinhole: Pinhole, pose: Pose, sensor_noise: bool = True) -> RenderedRoom:
    """Render a room through a pinhole camera.

    Returns:
        As `datasets.rooms.render.render_room`, but with depth in meters along the optical axis.
    """
    parts = room.all_parts()
    solids = SolidTable.of([part.solid for part in parts])
    along_axis = pinhole.rays()
    length = np.linalg.norm(along_axis, axis=-1)
    rotation = pose.rotation()
    rays = along_axis / length[..., None] @ rotation.T
    hits = cast_rays(solids, pose.camera, rays, _windows(solids, pinhole, pose))
    surfaces = locate_on_rays(hits, solids, pose.camera, rays.reshape(-1, 3))
    patch = to_patch(surfaces, hits, solids, pose.camera, pixel_angle=1 / pinhole.fy)
    radiance = shade(room, parts, hits, surfaces, patch)
    # Row vectors times the camera-to-world rotation: this applies its inverse.
    normal = surfaces.normals @ rotation
    return RenderedRoom(
        rgb=develop_weighted(radiance, room, sensor_noise, np.ones(1, np.float32), length.size),
        depth=(hits.depth / length).astype(np.float32),
        normal=normal.reshape(rays.shape).astype(np.float32),
        semantic=part_labels(parts)[hits.solid],
    )


def cast_rays(
    solids: SolidTable, camera: Camera, rays: np.ndarray, windows: list[tuple[slice, slice] | None] | None = None
) -> RayHits:
    """Cast unit rays (H, W, 3), world axes, from `camera`, which must be inside the shell.

    Solids that contain the camera are invisible.

    Args:
        windows: for each solid, rows and columns of the rays that can hit it (None: no ray can); default: all rays.
    """
    depth = np.full(rays.shape[:2], np.inf)
    solid, face = np.zeros(rays.shape[:2], int), np.zeros(rays.shape[:2], int)
    hidden = solids.contains(camera.x, camera.z, camera.height)
    everywhere = slice(None), slice(None)
    for i in np.flatnonzero(~hidden):
        window = windows[i] if windows and solids.kind[i] < Kind.FLOOR else everywhere
        if window is None:
            continue
        enter, entered = _CROSSINGS[Kind(solids.kind[i])](solids, i, camera, rays[window])
        nearer = enter < depth[window]
        np.copyto(depth[window], enter, where=nearer)
        np.copyto(solid[window], i, where=nearer)
        np.copyto(face[window], entered, where=nearer)
    return RayHits(depth, solid, face)


def _cross_level(solids: SolidTable, i: int, camera: Camera, rays: np.ndarray) -> tuple[np.ndarray, int]:
    """Distances at which rays hit the floor or the ceiling (inf: never), and the face."""
    distance = (camera.height - solids.low[i]) / _not_zero(rays[..., 1])
    face = Face.TOP if solids.kind[i] == Kind.FLOOR else Face.BOTTOM
    return np.where(distance > 0, distance, np.inf), face


def _cross_wall(solids: SolidTable, i: int, camera: Camera, rays: np.ndarray) -> tuple[np.ndarray, int]:
    """Distances at which rays hit the front of a wall (inf: never), and the face."""
    (x, z), (ray_x, ray_z) = _local(solids, i, camera, rays)
    distance = -z / np.minimum(ray_z, -TINY)
    hit = (ray_z < 0) & (z > 0) & (np.abs(x + distance * ray_x) <= solids.half_x[i] + CORNER)
    return np.where(hit, distance, np.inf), Face.FRONT


def _cross_box(solids: SolidTable, i: int, camera: Camera, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances at which rays hit a box (inf: never), and the face of each hit."""
    (x, z), (ray_x, ray_z) = _local(solids, i, camera, rays)
    enter_x, leave_x = _slab(x, solids.half_x[i], ray_x)
    enter_z, leave_z = _slab(z, solids.half_z[i], ray_z)
    sideways = np.where(
        enter_x > enter_z,
        np.where(ray_x < 0, Face.RIGHT, Face.LEFT),
        np.where(ray_z < 0, Face.FRONT, Face.BACK),
    )
    return _prism(solids, i, camera, rays, np.maximum(enter_x, enter_z), np.minimum(leave_x, leave_z), sideways)


def _cross_cylinder(solids: SolidTable, i: int, camera: Camera, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    (x, z), (ray_x, ray_z) = _local(solids, i, camera, rays)
    a = np.maximum(ray_x**2 + ray_z**2, TINY)
    b = x * ray_x + z * ray_z
    squared = b**2 - a * (x**2 + z**2 - solids.half_x[i] ** 2)
    root = np.sqrt(np.maximum(squared, 0))
    enter = np.where(squared > 0, (-b - root) / a, np.inf)
    return _prism(solids, i, camera, rays, enter, (-b + root) / a, np.full(enter.shape, int(Face.CURVED)))


def _cross_sphere(solids: SolidTable, i: int, camera: Camera, rays: np.ndarray) -> tuple[np.ndarray, int]:
    middle = (solids.low[i] + solids.high[i]) / 2
    center = np.array([solids.x[i] - camera.x, camera.height - middle, solids.z[i] - camera.z])
    nearest = rays @ center
    squared = nearest**2 - (center @ center - solids.half_x[i] ** 2)
    enter = nearest - np.sqrt(np.maximum(squared, 0))
    return np.where((squared > 0) & (enter > 0), enter, np.inf), Face.CURVED


def _prism(solids, i, camera, rays, enter, leave, sideways) -> tuple[np.ndarray, np.ndarray]:
    """Distances at which rays hit an upright prism (inf: never), and the face of each hit.

    Args:
        enter, leave: distances between which the rays are over or under the prism's footprint.
        sideways: the face through which they enter the footprint.
    """
    down = rays[..., 1]
    middle = camera.height - (solids.low[i] + solids.high[i]) / 2
    enter_level, leave_level = _slab(-middle, (solids.high[i] - solids.low[i]) / 2, down)
    face = np.where(enter >= enter_level, sideways, np.where(down > 0, Face.TOP, Face.BOTTOM))
    first, last = np.maximum(enter, enter_level), np.minimum(leave, leave_level)
    return np.where((first < last) & (last > 0), first, np.inf), face


def _slab(start: float, half: float, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances at which rays from `start` enter and leave the interval from -half to half along one axis."""
    ray = _not_zero(ray)
    middle, reach = -start / ray, half / np.abs(ray)
    return middle - reach, middle + reach


def _local(
    solids: SolidTable, i: int, camera: Camera, rays: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The camera's position and the rays' directions on the floor plan, (x, z) each, in the axes of a solid."""
    cos, sin = np.cos(solids.yaw[i]), np.sin(solids.yaw[i])
    ray_x, ray_z = rays[..., 0], rays[..., 2]
    return solids.to_local(i, camera.x, camera.z), (ray_x * cos - ray_z * sin, ray_x * sin + ray_z * cos)


def _not_zero(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) < TINY, TINY, values)


def _windows(solids: SolidTable, pinhole: Pinhole, pose: Pose) -> list[tuple[slice, slice] | None]:
    """The pixels on which each solid can appear (None: on none).

    These are the ones between its projected corners, or all if only some of the corners are in front of the camera.
    """
    signs = np.array(list(product((-1, 1), repeat=3)))  # (8, 3)
    x, z = signs[:, :1] * solids.half_x, signs[:, 1:2] * solids.half_z  # (8, P)
    cos, sin = np.cos(solids.yaw), np.sin(solids.yaw)
    height = np.where(signs[:, 2:] < 0, solids.low, solids.high)
    camera = pose.camera
    corners = np.stack(
        [solids.x + x * cos + z * sin - camera.x, camera.height - height, solids.z + z * cos - x * sin - camera.z],
        axis=-1,
    )
    x, y, z = np.moveaxis(corners @ pose.rotation(), -1, 0)  # in the axes of the camera
    ahead = z > _NEAR
    column = pinhole.fx * x / np.where(ahead, z, 1) + pinhole.cx
    row = pinhole.fy * y / np.where(ahead, z, 1) + pinhole.cy
    windows: list[tuple[slice, slice] | None] = []
    for i in range(len(solids.x)):
        if not ahead[:, i].any():
            windows.append(None)
        elif not ahead[:, i].all():
            windows.append((slice(None), slice(None)))
        else:
            windows.append((_span(row[:, i], pinhole.height), _span(column[:, i], pinhole.width)))
    return windows


def _span(positions: np.ndarray, length: int) -> slice:
    """The pixels of one axis between the outermost of these positions."""
    first, last = np.clip([np.floor(positions.min()), np.ceil(positions.max()) + 1], 0, length).astype(int)
    return slice(first, last)


_CROSSINGS = {
    Kind.BOX: _cross_box,
    Kind.CYLINDER: _cross_cylinder,
    Kind.SPHERE: _cross_sphere,
    Kind.FLOOR: _cross_level,
    Kind.CEILING: _cross_level,
    Kind.WALL: _cross_wall,
}
