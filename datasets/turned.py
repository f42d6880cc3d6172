"""Panoramas seen by a turned camera, or zoomed, to measure the robustness of predictions."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from utils.batches import ChangedBatches
from utils.sphere import angles_to_pixels, erp_rays, rays_to_angles, yaw_rotation

Turn = tuple[float, float, float]  # degrees: yaw to the right, pitch upwards, roll clockwise


def turn_rotation(turn: Turn) -> np.ndarray:
    """The rotation (3, 3) from the frame of the turned camera to the upright frame. The camera is rolled first, then
    pitched, then yawed.
    """
    yaw, pitch, roll = np.radians(turn)
    cos, sin = np.cos(pitch), np.sin(pitch)
    up = np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
    cos, sin = np.cos(roll), np.sin(roll)
    clockwise = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return yaw_rotation(yaw) @ up @ clockwise


def unzoomed(rays: np.ndarray, zoom: float) -> np.ndarray:
    """The original directions (..., 3) of what a zoomed panorama shows at unit rays (..., 3).

    A Moebius transformation of the sphere: at an angle t from the forward direction z, a panorama zoomed by s shows
    what was at the angle 2 arctan(tan(t / 2) / s), in the same direction around z. It preserves angles.
    """
    x, y, z = np.moveaxis(rays, -1, 0)
    behind = (1 - z) / zoom**2
    return np.stack([2 * x / zoom, 2 * y / zoom, 1 + z - behind], axis=-1) / (1 + z + behind)[..., None]


class TurnedBatches(ChangedBatches):
    """Batches of panoramas, all turned by the same angles and then zoomed; see `datasets.panorama` for the keys.

    Colors are interpolated bilinearly; all other maps (..., H, W) are taken from the nearest pixel, with the normals
    rotated to the frame of the turned camera. Zooming only moves pixels: depth and normals keep their values.

    Args:
        batches: the upright batches.
        turn: rotation of the camera.
        normal_frame: "camera", or "world", in which normals are not rotated.
        zoom: see `unzoomed`.
    """

    def __init__(self, batches: Iterable[dict], turn: Turn, normal_frame: str, zoom: float = 1.0):
        super().__init__(batches)
        self._turn = turn
        self._normal_frame = normal_frame
        self._zoom = zoom

    def change(self, batch: dict) -> dict:
        rgb = batch["rgb"]
        nearest_index, grid, rotation = _sampling(self._turn, self._zoom, *rgb.shape[-2:], rgb.device)
        nearest = {
            key: value.flatten(-2)[..., nearest_index].unflatten(-1, rgb.shape[-2:])
            for key, value in batch.items()
            if key != "rgb" and isinstance(value, torch.Tensor) and value.shape[-2:] == rgb.shape[-2:]
        }
        if self._normal_frame == "camera":
            nearest["normal"] = torch.einsum("ji,bjhw->bihw", rotation, nearest["normal"])  # the inverse
        padded = F.pad(rgb, (1, 1, 0, 0), mode="circular")
        colors = F.grid_sample(padded, grid.expand(len(rgb), -1, -1, -1), padding_mode="border", align_corners=True)
        return batch | nearest | {"rgb": colors}


@lru_cache(maxsize=4)
def _sampling(
    turn: Turn, zoom: float, height: int, width: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """How to sample an upright image: indices (H * W,) of the nearest pixels in the flattened image, the grid
    (1, H, W, 2) for `grid_sample` of the image padded by one column on either side, and the rotation (3, 3).
    """
    rotation = turn_rotation(turn)
    rays = unzoomed(erp_rays(height, width), zoom) @ rotation.T
    row, column = angles_to_pixels(*rays_to_angles(rays), height, width)
    nearest_row, nearest_column = np.rint(row).clip(0, height - 1), np.rint(column) % width
    nearest_index = torch.tensor((nearest_row * width + nearest_column).astype(np.int64).ravel(), device=device)
    x, y = 2 * (column + 1) / (width + 1) - 1, 2 * row / (height - 1) - 1
    grid = torch.tensor(np.stack([x, y], axis=-1)[None], dtype=torch.float32, device=device)
    return nearest_index, grid, torch.tensor(rotation, dtype=torch.float32, device=device)
