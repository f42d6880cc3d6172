"""Constant tensors of the metrics, cached for each size and device: copying them to a GPU every time would stall it."""

from functools import lru_cache

import numpy as np
import torch

from utils.sphere import angles_to_pixels, erp_rays, erp_solid_angles, pixels_to_angles, rays_to_angles
from utils.tasks import MAX_DEPTH

DISTANCES = np.linspace(0, MAX_DEPTH, 11)  # meters: bin edges of ground truth depth; the last bin includes its end
LATITUDES = np.linspace(-90, 90, 19)  # degrees, increasing downward (see `utils.sphere`): band edges


@lru_cache(maxsize=16)
def solid_angles(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Solid angle in steradians of the pixels of each row of an ERP image, (H,) float64."""
    return torch.tensor(erp_solid_angles(height, width), device=device)


@lru_cache(maxsize=16)
def inner_distances(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """DISTANCES without the first and the last one."""
    return torch.tensor(DISTANCES[1:-1], dtype=dtype, device=device)


@lru_cache(maxsize=16)
def bands_of_rows(height: int, device: torch.device) -> torch.Tensor:
    """Index of the band of LATITUDES that contains the center of each row of an ERP image, (H,) int64."""
    _, latitude = pixels_to_angles(np.arange(height), np.zeros(height), height, 2 * height)
    return torch.tensor(np.searchsorted(LATITUDES, np.degrees(latitude), side="right") - 1, device=device)


@lru_cache(maxsize=16)
def rows_between_poles(height: int, pole_crop: float, device: torch.device) -> torch.Tensor:
    """Whether the center of each row of an ERP image is more than `pole_crop` degrees from both poles, (H,) bool."""
    _, latitude = pixels_to_angles(np.arange(height), np.zeros(height), height, 2 * height)
    return torch.tensor(90 - np.degrees(np.abs(latitude)) > pole_crop, device=device)


@lru_cache(maxsize=16)
def integer_solid_angles(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Solid angle of the pixels of each row in units of 2^-44 of the sphere, (H,) int64.

    Sums over up to 2^19 images are exact, and hence do not depend on their order.
    """
    fractions = erp_solid_angles(height, width) / (4 * np.pi)
    return torch.tensor(np.rint(fractions * 2**44).astype(np.int64), device=device)


@lru_cache(maxsize=16)
def rays(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Unit rays through the pixel centers of an ERP image, (3, H, W) float64."""
    return torch.tensor(erp_rays(height, width), device=device).movedim(-1, 0).contiguous()


@lru_cache(maxsize=16)
def fibonacci_pixels(number: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Indices, into a flattened ERP image, of the pixels nearest to evenly distributed directions, (number,) int64.

    The directions form a Fibonacci spiral. In small images, pixels occur several times.
    """
    i = np.arange(number)
    latitude = np.arcsin((2 * i + 1) / number - 1)
    longitude = (i * (5**0.5 - 1) / 2 % 1 - 0.5) * 2 * np.pi
    row, column = (np.rint(x).astype(np.int64) for x in angles_to_pixels(longitude, latitude, height, width))
    return torch.tensor(row.clip(0, height - 1) * width + column % width, device=device)


@lru_cache(maxsize=16)
def pixels_beside_cube_edges(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Indices, into a flattened ERP image, of pixels on both sides of each edge of a cube, (2, 12, H / 2) int64.

    The cube is aligned with the axes. The pixels are those nearest to H / 2 points along each edge, at an angular
    distance of one pixel height from it.
    """
    along = (2 * np.arange(height // 2) + 1) / (height // 2) - 1
    pairs = [(axis, (axis + 1) % 3) for axis in range(3)]  # axes normal to two adjacent faces
    signs = np.array([1, -1])
    sides = []
    for angle in (np.pi / 4 - np.pi / height, np.pi / 4 + np.pi / height):
        points = np.empty((3, 2, 2, height // 2, 3))  # pair, sign on its first axis, on its second, point, xyz
        for edge, (first, second) in enumerate(pairs):
            points[edge, ..., first] = np.sqrt(2) * np.cos(angle) * signs[:, None, None]
            points[edge, ..., second] = np.sqrt(2) * np.sin(angle) * signs[:, None]
            points[edge, ..., 3 - first - second] = along
        sides.append(points.reshape(12, -1, 3))
    pixels = angles_to_pixels(*rays_to_angles(np.array(sides)), height, width)
    row, column = (np.rint(x).astype(np.int64) for x in pixels)
    return torch.tensor(row.clip(0, height - 1) * width + column % width, device=device)


CACHED = (
    *(solid_angles, inner_distances, bands_of_rows, rows_between_poles, integer_solid_angles),
    *(rays, fibonacci_pixels, pixels_beside_cube_edges),
)
