"""Floor and ceiling of a panorama, by geometry alone."""

from dataclasses import dataclass

import numpy as np

from utils.sphere import pixels_to_angles

_LEVEL = np.cos(np.radians(20))  # surfaces that lean less are horizontal
_BEYOND = np.radians(20)  # latitude: nearer to the horizon a floor is far away, and its normal uncertain
_CERTAIN = np.radians(45)  # latitude: where most of what is seen is floor or ceiling, if no normals are known
_SAME_HEIGHT = 0.15  # relative: tables and seats are farther from the height of the floor
_FEWEST = 20  # pixels


@dataclass(frozen=True)
class Surfaces:
    """Masks (H, W) of what lies like a floor and like a ceiling, and the height of the camera.

    Attributes:
        height: of the camera over the floor in meters; NaN if no floor or no depth is known.
    """

    floor: np.ndarray
    ceiling: np.ndarray
    height: float


def latitudes(height: int) -> np.ndarray:
    """Latitudes (H, 1) in radians of the rows of an ERP image, growing downwards."""
    return pixels_to_angles(np.arange(height)[:, None], 0, height, 2 * height)[1]


def find_surfaces(shape: tuple[int, int], normal: np.ndarray | None, depth: np.ndarray | None) -> Surfaces:
    """Surfaces of a panorama of this shape (H, W).

    Args:
        normal: (H, W, 3) in the camera frame, (0, 0, 0) = missing; None: of the latitude alone.
        depth: (H, W) meters along the ray, 0 = missing; None: of any height.
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
    """The pixels of a mask at about the height of most of them, and that height; none and NaN if there are too few."""
    found = heights[mask]
    if len(found) < _FEWEST:
        return np.zeros_like(mask), float("nan")
    height = float(np.median(found))
    return mask & (np.abs(heights - height) < _SAME_HEIGHT * abs(height)), height
