"""Constants of the metrics as tensors on a device, made once for each size: a copy to a GPU would wait for it."""

from functools import lru_cache

import numpy as np
import torch

from utils.sphere import angles_to_pixels, erp_rays, erp_solid_angles, pixels_to_angles, rays_to_angles
from utils.tasks import MAX_DEPTH

DISTANCES = np.linspace(0, MAX_DEPTH, 11)  # meters: edges of the bins of true depth, the last one closed
LATITUDES = np.linspace(-90, 90, 19)  # degrees, growing downwards (see `utils.sphere`): edges of the bands


@lru_cache(maxsize=16)
def solid_angles(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Solid angle in steradians of a pixel of each row of an ERP image, (H,) float64."""
    return torch.tensor(erp_solid_angles(height, width), device=device)


@lru_cache(maxsize=16)
def inner_distances(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The DISTANCES between two bins, without the first and the last one."""
    return torch.tensor(DISTANCES[1:-1], dtype=dtype, device=device)


@lru_cache(maxsize=16)
def bands_of_rows(height: int, device: torch.device) -> torch.Tensor:
    """The band of LATITUDES in which the centre of each row of an ERP image lies, (H,) int64."""
    _, latitude = pixels_to_angles(np.arange(height), np.zeros(height), height, 2 * height)
    return torch.tensor(np.searchsorted(LATITUDES, np.degrees(latitude), side="right") - 1, device=device)


@lru_cache(maxsize=16)
def rows_between_poles(height: int, pole_crop: float, device: torch.device) -> torch.Tensor:
    """Whether the center of each row of an ERP image is further than `pole_crop` degrees from both poles, (H,) bool."""
    _, latitude = pixels_to_angles(np.arange(height), np.zeros(height), height, 2 * height)
    return torch.tensor(90 - np.degrees(np.abs(latitude)) > pole_crop, device=device)


@lru_cache(maxsize=16)
def integer_solid_angles(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Solid angle of a pixel of each row as a multiple of 2^-44 of the sphere, (H,) int64: sums are exact in any order,
    of up to 2^19 images."""
    fractions = erp_solid_angles(height, width) / (4 * np.pi)
    return torch.tensor(np.rint(fractions * 2**44).astype(np.int64), device=device)


@lru_cache(maxsize=16)
def rays(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Unit rays through the pixels of an ERP image, (3, H, W) float64."""
    return torch.tensor(erp_rays(height, width), device=device).movedim(-1, 0).contiguous()


@lru_cache(maxsize=16)
def spread_pixels(number: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Places in a flattened ERP image of pixels nearest to `number` directions, evenly distributed, (number,) int64.

    The directions are those of a Fibonacci spiral. In small images pixels occur several times.
    """
    i = np.arange(number)
    latitude = np.arcsin((2 * i + 1) / number - 1)
    longitude = (i * (5**0.5 - 1) / 2 % 1 - 0.5) * 2 * np.pi
    row, column = (np.rint(x).astype(np.int64) for x in angles_to_pixels(longitude, latitude, height, width))
    return torch.tensor(row.clip(0, height - 1) * width + column % width, device=device)


@lru_cache(maxsize=16)
def pixels_beside_cube_edges(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Places in a flattened ERP image of the pixels nearest to H / 2 points on either side of each edge of a cube along
    the axes, one pixel of height from it, (2, 12, H / 2) int64."""
    along = (2 * np.arange(height // 2) + 1) / (height // 2) - 1
    pairs = [(axis, (axis + 1) % 3) for axis in range(3)]  # of the axes that two faces look along
    signs = np.array([1, -1])
    sides = []
    for angle in (np.pi / 4 - np.pi / height, np.pi / 4 + np.pi / height):
        points = np.empty((3, 2, 2, height // 2, 3))  # pair, sign along the first, along the second
        for edge, (first, second) in enumerate(pairs):
            points[edge, ..., first] = np.sqrt(2) * np.cos(angle) * signs[:, None, None]
            points[edge, ..., second] = np.sqrt(2) * np.sin(angle) * signs[:, None]
            points[edge, ..., 3 - first - second] = along
        sides.append(points.reshape(12, -1, 3))
    places = angles_to_pixels(*rays_to_angles(np.array(sides)), height, width)
    row, column = (np.rint(x).astype(np.int64) for x in places)
    return torch.tensor(row.clip(0, height - 1) * width + column % width, device=device)


CACHED = (
    *(solid_angles, inner_distances, bands_of_rows, rows_between_poles, integer_solid_angles),
    *(rays, spread_pixels, pixels_beside_cube_edges),
)
