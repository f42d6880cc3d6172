"""Floor and ceiling of a panorama, found by geometry."""

from dataclasses import dataclass

import numpy as np

from utils.sphere import pixels_to_angles

_LEVEL = np.cos(np.radians(20))  # horizontal surfaces are tilted less
_BEYOND = np.radians(20)  # latitude: closer to the horizon, floors are far away and their normals unreliable
_CERTAIN = np.radians(45)  # latitude beyond which most pixels are floor or ceiling, for use without normals
_SAME_HEIGHT = 0.15  # relative: tables and seats differ more from the height of the floor
_MIN_PIXELS = 20


@dataclass(frozen=True)
class Surfaces:
    """Masks (H, W) of floor and ceiling, and the height of the camera above the floor.

    Attributes:
        height: meters; NaN without a floor or without depth.
    """

    floor: np.ndarray
    ceiling: np.ndarray
    height: float


def latitudes(height: int) -> np.ndarray:
    """Latitudes (H, 1) in radians of the rows of an ERP image, growing downward."""
    return pixels_to_angles(np.arange(height)[:, None], 0, height, 2 * height)[1]


def find_surfaces(shape: tuple[int, int], normal: np.ndarray | None, depth: np.ndarray | None) -> Surfaces:
    """Find floor and ceiling of a panorama of this shape (H, W).

    Args:
        normal: (H, W, 3) in the camera frame, (0, 0, 0) = missing; None: only the latitude is used.
        depth: (H, W) meters along the ray, 0 = missing; None: heights are not used.
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
    """The pixels of a mask near their median height, and this height; no pixels and NaN if the mask has too few."""
    found = heights[mask]
    if len(found) < _MIN_PIXELS:
        return np.zeros_like(mask), float("nan")
    height = float(np.median(found))
    return mask & (np.abs(heights - height) < _SAME_HEIGHT * abs(height)), height
