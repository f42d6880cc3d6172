"""Floor and ceiling of a panorama, by geometry."""

from dataclasses import dataclass

import numpy as np

from utils.sphere import pixels_to_angles

_LEVEL = np.cos(np.radians(20))  # surfaces that are tilted less are horizontal
_BEYOND = np.radians(20)  # latitude: closer to the horizon floors are far away and their normals uncertain
_CERTAIN = np.radians(45)  # latitude beyond which most pixels are floor or ceiling, if there are no normals
_SAME_HEIGHT = 0.15  # relative: tables and seats differ more from the height of the floor
_MIN_PIXELS = 20


@dataclass(frozen=True)
class Surfaces:
    """Masks (H, W) of floor and ceiling by geometry, and the height of the camera.

    Attributes:
        height: of the camera over the floor in meters; NaN if there is no floor or no depth.
    """

    floor: np.ndarray
    ceiling: np.ndarray
    height: float


def latitudes(height: int) -> np.ndarray:
    """Latitudes (H, 1) in radians of the rows of an ERP image, growing downward."""
    return pixels_to_angles(np.arange(height)[:, None], 0, height, 2 * height)[1]


def find_surfaces(shape: tuple[int, int], normal: np.ndarray | None, depth: np.ndarray | None) -> Surfaces:
    """Surfaces of a panorama of this shape (H, W).

    Args:
        normal: (H, W, 3) in the camera frame, (0, 0, 0) = missing; None: use only the latitude.
        depth: (H, W) meters along the ray, 0 = missing; None: do not use heights.
    """
    latitude = np.broadcast_to(latitudes(shape[0]), shape)
    if normal is None:
        return Surfaces(latitude > _CERTAIN, latitude < -_CERTAIN, float("nan"))
    floor = (latitude > _BEYOND) & (normal[..., 1] < -_LEVEL)
    ceiling = (latitude < -_BEYOND) & (normal[..., 1] > _LEVEL)
    if depth is None:
        return Surfaces(floor, ceiling, float("nan"))
    heights = depth * np.sin(latitude)
    floor, height = _main_level(floor, heights)
    ceiling, _ = _main_level(ceiling, heights)
    return Surfaces(floor, ceiling, height)


def _main_level(mask: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, float]:
    """The pixels of a mask near their median height, and that height; none and NaN if there are too few."""
    found = heights[mask]
    if len(found) < _MIN_PIXELS:
        return np.zeros_like(mask), float("nan")
    height = float(np.median(found))
    return mask & (np.abs(heights - height) < _SAME_HEIGHT * abs(height)), height
