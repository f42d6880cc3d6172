"""Constants of the metrics as tensors on a device, made once for each size: a copy to a GPU would wait for it."""

from functools import lru_cache

import numpy as np
import torch

from utils.sphere import erp_solid_angles, pixels_to_angles
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


CACHED = (solid_angles, inner_distances, bands_of_rows, rows_between_poles, integer_solid_angles)
