"""Lighting: Lambertian shading by small lights with shadows, ambient light, exposure and the sensor."""

import numpy as np

from datasets.rooms.casting import Camera, cast
from datasets.rooms.scene import Light, Room
from datasets.rooms.shapes import Kind, SolidTable
from datasets.rooms.surfaces import Surfaces
from utils.sphere import angles_to_pixels, erp_solid_angles, rays_to_angles

_NEAR = 0.5  # square meters: limits the brightness close to lights
_CORNER_SIZE = 0.35  # meters from a corner at which the dimming has fallen to 1/e
_CORNER_FRACTION = 0.55  # fraction of the ambient light that a corner loses
_SHADOW_BIAS, _SHADOW_BLUR = 0.02, 0.05  # meters
_KEY = 0.5  # mean brightness before the film curve


def illuminate(surfaces: Surfaces, room: Room, solids: SolidTable, shadow_height: int) -> np.ndarray:
    """The light that each point receives, linear RGB (N, 3) float32.

    Args:
        shadow_height: rows of the ERP depth maps used as shadow maps.
    """
    # Ambient light, a little more from above than from below.
    facing_up = -surfaces.normals[:, 1].astype(np.float32)
    ambient = (0.85 + 0.15 * facing_up) * _openness(surfaces, solids)
    total = np.array(room.ambient, np.float32) * ambient[:, None]
    for light in room.lights:
        total += np.array(light.color, np.float32) * _received(surfaces, light, solids, shadow_height)[:, None]
    return total


def develop(radiance: np.ndarray, room: Room, sensor_noise: bool) -> np.ndarray:
    """The 8-bit ERP image (H, W, 3) of linear radiance (H, W, 3): exposure, film curve, gamma, noise."""
    weights = erp_solid_angles(*radiance.shape[:2])[:, None]
    return develop_weighted(radiance, room, sensor_noise, weights, 4 * np.pi)


def develop_weighted(
    radiance: np.ndarray, room: Room, sensor_noise: bool, weights: np.ndarray, total: float
) -> np.ndarray:
    """As `develop`, with the exposure set by a weighted mean: weights broadcast to (H, W) and then sum to `total`."""
    brightness = np.minimum(radiance @ np.full(3, 1 / 3, np.float32), 2.0)  # one bright window must not darken the room
    mean = (brightness * weights).sum() / total
    image = 1 - np.exp(-radiance * np.float32(room.exposure * _KEY / max(mean, 1e-6)))
    image = image ** np.float32(1 / 2.2)
    if sensor_noise and room.noise > 0:
        rng = np.random.default_rng([room.seed, *image.shape])
        image += np.float32(room.noise) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)


def _received(surfaces: Surfaces, light: Light, solids: SolidTable, shadow_height: int) -> np.ndarray:
    """The amount of light that each point receives from a light of color 1, (N,)."""
    to_light = (np.array([light.x, -light.height, light.z]) - surfaces.points).astype(np.float32)
    squared = np.einsum("ij,ij->i", to_light, to_light)
    distance = np.sqrt(squared)
    cosine = np.einsum("ij,ij->i", to_light, surfaces.normals.astype(np.float32)) / distance
    received = np.maximum(cosine, 0) / (squared + _NEAR)
    if light.yaw is not None:
        ahead = -(to_light[:, 0] * np.float32(np.sin(light.yaw)) + to_light[:, 2] * np.float32(np.cos(light.yaw)))
        upward = -to_light[:, 1] / distance  # daylight comes from above
        received *= np.maximum(ahead / distance, 0) * np.clip(0.4 + 1.2 * upward, 0, 1)
    if light.shadows:
        lit = np.flatnonzero(received > 0)
        received[lit] *= _visible(to_light[lit], distance[lit], cosine[lit], light, solids, shadow_height)
    return received


def _visible(to_light, distance, cosine, light: Light, solids: SolidTable, height: int) -> np.ndarray:
    """The fraction of the light that reaches each point, (N,), by a shadow map of `height` rows."""
    width = 2 * height
    shadow_map = cast(solids, Camera(light.x, light.z, light.height), height, width).depth.astype(np.float32)
    row, column = angles_to_pixels(*rays_to_angles(-to_light), height, width)
    row, column = np.clip(row, 0, height - 1), column.astype(np.float32)
    top, left = np.floor(row).astype(np.int32), np.floor(column).astype(np.int32)
    down, right = row - top, column - left
    # The bias against self-shadowing grows with the size of the shadow map's pixels on the surface.
    pixel = distance * np.float32(np.pi / height)
    margin = _SHADOW_BIAS + pixel / np.maximum(cosine, 0.1)
    result = np.zeros_like(distance)
    for step_down, row_weight in ((0, 1 - down), (1, down)):
        for step_right, column_weight in ((0, 1 - right), (1, right)):
            occluder = shadow_map[np.minimum(top + step_down, height - 1), (left + step_right) % width]
            lit = np.clip(1 - (distance - occluder - margin) / _SHADOW_BLUR, 0, 1)
            result += row_weight * column_weight * lit
    return result


def _openness(surfaces: Surfaces, solids: SolidTable) -> np.ndarray:
    """The fraction of the ambient light that reaches each point, (N,): less near other surfaces of the shell.

    The more a surface's normal differs from the point's, the more light it occludes; it never dims its own points.
    """
    points, normals = surfaces.points.astype(np.float32), surfaces.normals.astype(np.float32)
    open_fraction = np.ones(len(points), np.float32)
    for i in np.flatnonzero(solids.kind >= Kind.FLOOR):
        if solids.kind[i] == Kind.WALL:
            local_x, local_z = solids.to_local(i, points[:, 0], points[:, 2])
            beside = np.maximum(np.abs(local_x) - np.float32(solids.half_x[i]), 0)
            distance = np.hypot(local_z, beside).astype(np.float32)
            parallel = normals[:, 0] * np.float32(np.sin(solids.yaw[i])) + normals[:, 2] * np.float32(
                np.cos(solids.yaw[i])
            )
        else:
            distance = np.abs(points[:, 1] + np.float32(solids.low[i]))
            parallel = normals[:, 1] * (-1 if solids.kind[i] == Kind.FLOOR else 1)
        open_fraction *= 1 - _CORNER_FRACTION * 0.5 * (1 - parallel) * np.exp(-distance / _CORNER_SIZE)
    return open_fraction
