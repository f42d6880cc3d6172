"""Renders a room as a panorama with ground truth."""

from dataclasses import dataclass

import numpy as np

from datasets.classes import STANFORD2D3D
from datasets.rooms.casting import Camera, RayHits, cast
from datasets.rooms.lighting import develop, illuminate
from datasets.rooms.scene import Part, Room
from datasets.rooms.shapes import Kind, SolidTable
from datasets.rooms.surfaces import Patch, Surfaces, locate, to_patch
from utils.sphere import yaw_rotation

_SHADOW_ROWS = 192  # maximum height of shadow maps
_THINNEST_SHADOW = 0.12  # meters


@dataclass(frozen=True)
class RenderedRoom:
    """A rendered ERP image and its exact ground truth.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32, meters along the ray.
        normal: (H, W, 3) float32, unit vectors in the camera frame, toward the camera.
        semantic: (H, W) int16, labels of `STANFORD2D3D`.
    """

    rgb: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    semantic: np.ndarray


def render_room(
    room: Room, height: int, width: int, camera_yaw: float = 0.0, sensor_noise: bool = True
) -> RenderedRoom:
    """Render a room as an ERP image of height x width pixels.

    Args:
        camera_yaw: rotation of the camera about the vertical in radians, to the right. A rotation by 2 pi k / W
            rolls the image by k columns to the left.
        sensor_noise: False omits the noise, the only part that does not roll with the image.
    """
    parts = room.all_parts()
    solids = SolidTable.of([part.solid for part in parts])
    camera = Camera(room.camera.x, room.camera.z, room.camera.height, room.camera.yaw + camera_yaw)
    hits = cast(solids, camera, height, width)
    surfaces = locate(hits, solids, camera)
    radiance = shade(room, parts, hits, surfaces, to_patch(surfaces, hits, solids, camera))
    # Row vectors times the camera-to-world rotation: this applies its inverse.
    normal = surfaces.normals @ yaw_rotation(camera.yaw)
    return RenderedRoom(
        rgb=develop(radiance, room, sensor_noise),
        depth=hits.depth.astype(np.float32),
        normal=normal.reshape(height, width, 3).astype(np.float32),
        semantic=part_labels(parts)[hits.solid],
    )


def shade(room: Room, parts: list[Part], hits: RayHits, surfaces: Surfaces, patch: Patch) -> np.ndarray:
    """Linear radiance (H, W, 3) of the hits of an H x W image."""
    height, width = hits.solid.shape
    color, glow = _paint(parts, hits.solid.ravel(), patch)
    shading = SolidTable.of([part.solid for part in parts if _casts_shadow(part)])
    light = illuminate(surfaces, room, shading, shadow_height=min(height, _SHADOW_ROWS))
    return (color * (light + glow[:, None])).reshape(height, width, 3)


def part_labels(parts: list[Part]) -> np.ndarray:
    """The label of each part, (P,) int16."""
    return np.array([STANFORD2D3D.label(part.label) for part in parts], np.int16)


def _casts_shadow(part: Part) -> bool:
    """Whether a part casts shadows. Lamps, which would occlude their own light, and thin rods do not."""
    solid = part.solid
    if solid.kind >= Kind.FLOOR:
        return True
    middle_size = sorted((2 * solid.half_x, 2 * solid.half_z, solid.high - solid.low))[1]
    return part.material.glow == 0 and middle_size > _THINNEST_SHADOW


def _paint(parts: list[Part], index: np.ndarray, patch: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Color (N, 3) and glow (N,) of points on the parts with indices `index` (N,); each material is evaluated once."""
    materials = list(dict.fromkeys(part.material for part in parts))
    number = {material: i for i, material in enumerate(materials)}
    of_point = np.array([number[part.material] for part in parts])[index]
    order = np.argsort(of_point, kind="stable")
    bounds = np.searchsorted(of_point[order], np.arange(len(materials) + 1))
    color = np.empty((len(index), 3), np.float32)
    for material, begin, end in zip(materials, bounds[:-1], bounds[1:], strict=True):
        if end > begin:
            points = order[begin:end]
            color[points] = material.texture(patch.subset(points), material)
    return color, np.array([material.glow for material in materials], np.float32)[of_point]
