"""Resampling between panoramas (ERP), pinhole images and cube maps.

Axes, angles and pixels as in `utils.sphere` and `utils.pinhole`. A *rotation* (3, 3) maps vectors of the camera, or of
the cube, to vectors of the panorama. Images are (H, W) or (H, W, C), of a type that OpenCV can resample.
"""

from collections.abc import Mapping
from functools import lru_cache

import cv2
import numpy as np

from utils.pinhole import Pinhole
from utils.sphere import angles_to_pixels, erp_rays, rays_to_angles, yaw_rotation

# Camera rotation of each face. Seen from inside, the bottom of "up" and the top of "down" join "front".
CUBE_FACES: dict[str, np.ndarray] = {
    "front": np.eye(3),
    "right": yaw_rotation(np.pi / 2),
    "back": yaw_rotation(np.pi),
    "left": yaw_rotation(-np.pi / 2),
    "up": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "down": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
_LINEAR, _NEAREST = cv2.INTER_LINEAR, cv2.INTER_NEAREST


def sample(image: np.ndarray, row: np.ndarray, col: np.ndarray, nearest: bool = False) -> np.ndarray:
    """Sample an image at fractional positions (h, w), bilinearly or at the nearest pixel: (h, w[, C]).

    Positions outside the image get the border's values, NaN positions an arbitrary value.
    """
    row, col = (np.nan_to_num(position).astype(np.float32, copy=False) for position in (row, col))
    return cv2.remap(image, col, row, _NEAREST if nearest else _LINEAR, borderMode=cv2.BORDER_REPLICATE)


def sample_erp(image: np.ndarray, vectors: np.ndarray, nearest: bool = False) -> np.ndarray:
    """Sample a panorama in the directions of vectors (h, w, 3) of any length: (h, w[, C]); see `sample`."""
    row, col = angles_to_pixels(*rays_to_angles(vectors), *image.shape[:2])
    around = np.concatenate([image[:, -1:], image, image[:, :1]], axis=1)  # columns wrap around
    return sample(around, row, col + 1, nearest)


def erp_to_pinhole(
    image: np.ndarray, camera: Pinhole, rotation: np.ndarray | None = None, nearest: bool = False
) -> np.ndarray:
    """The image of a camera at the center of the sphere; without a rotation it looks at the panorama's center."""
    rays = camera.rays()
    return sample_erp(image, rays if rotation is None else rays @ rotation.T, nearest)


def pinhole_to_erp(
    image: np.ndarray, camera: Pinhole, height: int, rotation: np.ndarray | None = None, nearest: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The panorama (height, 2 height[, C]) of a pinhole image, and the mask (height, 2 height) of covered pixels."""
    rays = erp_rays(height, 2 * height)
    row, col = camera.project(rays if rotation is None else rays @ rotation)
    return sample(image, row, col, nearest), np.isfinite(row)


def cube_camera(size: int) -> Pinhole:
    """The camera of a cube face of size x size pixels."""
    return Pinhole.from_fov(90, size, size)


def cube_to_erp(
    faces: Mapping[str, np.ndarray], height: int, rotation: np.ndarray | None = None, nearest: bool = False
) -> np.ndarray:
    """The panorama (height, 2 height[, C]) of six cube faces, with the keys of `CUBE_FACES`.

    Each pixel is a single sample: for an image much smaller than the cube, average a larger one by area.
    """
    size = len(faces["front"])
    row, col = _cube_positions(size, height, (np.eye(3) if rotation is None else rotation).tobytes())
    return sample(np.concatenate([faces[name] for name in CUBE_FACES], axis=1), row, col, nearest)


@lru_cache(maxsize=2)  # all images of a dataset share them
def _cube_positions(size: int, height: int, rotation: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (height, 2 height) float32 of a panorama's rays on the six faces side by side."""
    rays = erp_rays(height, 2 * height) @ np.frombuffer(rotation).reshape(3, 3)
    camera = cube_camera(size)
    axes = np.stack([matrix[:, 2] for matrix in CUBE_FACES.values()])
    face = (rays @ axes.T).argmax(axis=-1)
    row, col = np.empty(face.shape, np.float32), np.empty(face.shape, np.float32)
    for number, matrix in enumerate(CUBE_FACES.values()):
        own = face == number
        x, y, z = np.moveaxis(rays[own] @ matrix, -1, 0)
        # Positions beyond the centers of the outermost pixels must not reach into another face.
        row[own] = camera.fy * y / z + camera.cy
        col[own] = (camera.fx * x / z + camera.cx).clip(0, size - 1) + size * number
    return row, col


def erp_to_cube(image: np.ndarray, size: int, nearest: bool = False) -> dict[str, np.ndarray]:
    """The six cube faces (size x size pixels) of a panorama, with the keys of `CUBE_FACES`."""
    return {name: erp_to_pinhole(image, cube_camera(size), matrix, nearest) for name, matrix in CUBE_FACES.items()}
