"""Poses of the skybox of a Matterport3D viewpoint and of its 18 views relative to each other.

The rig turns about its axis and stops at six yaws, where each of three cameras takes an image. The skybox is stitched
from these images and has no pose: seen from inside, its faces 1 to 4 follow each other to the right, and the first yaw
is 30 degrees to the left of the center of face 2. So the pose of the skybox follows from those of the views; the
remaining error in heading is then measured by comparing images (`measure_heading`).

The panorama's camera frame (x right, y down, z forward) is that of the skybox, centered on face 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.preparation.matterport_raw import RawView
from utils.pinhole import Pinhole
from utils.projection import cube_to_erp, erp_to_pinhole
from utils.sphere import yaw_rotation

SKYBOX_FACES = ("up", "front", "right", "back", "left", "down")  # of faces 0 to 5, see `utils.projection`
SKYBOX_ROTATION = yaw_rotation(-np.pi / 2)  # from the axes of the cube to those of the panorama
_FIRST_YAW, _YAW_STEP = -30.0, 60.0  # degrees to the right of the panorama's center
_NOMINAL_PITCH = (42.0, 0.0, -42.0)  # degrees upward, of the three cameras
LEVEL = 1  # the camera whose views are compared with the skybox
_COMPARED_WIDTH = 320  # pixels
# Response of the phase correlation: 0.96 to 0.98 on the real viewpoint, and up to 0.06 with images of other views.
_MIN_RESPONSE = 0.2
_MIN_VIEWS = 3
_PASSES = 2  # the correlation is more accurate for small offsets


@dataclass(frozen=True)
class Heading:
    """Orientation of the level views relative to the skybox. Angles are in degrees.

    Attributes:
        yaw: median rotation to the right that aligns the views with the skybox.
        residual: median absolute deviation of the views from this rotation.
        pitch: median angle by which the views appear too high in the skybox.
        num_views: number of views that could be compared.
    """

    yaw: float
    residual: float
    pitch: float
    num_views: int


def skybox_to_erp(faces: Sequence[np.ndarray], height: int) -> np.ndarray:
    """The panorama (height, 2 height, 3) of the six skybox images (S, S, 3), with one sample per pixel."""
    return cube_to_erp(dict(zip(SKYBOX_FACES, faces, strict=True)), height, SKYBOX_ROTATION)


def nominal_rotation(camera: int, yaw: int) -> np.ndarray:
    """Rotation (3, 3) from camera to panorama axes, by the design of the rig."""
    pitch = np.radians(_NOMINAL_PITCH[camera])
    cos, sin = np.cos(pitch), np.sin(pitch)
    upward = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return yaw_rotation(np.radians(_FIRST_YAW + _YAW_STEP * yaw)) @ upward


def panorama_pose(views: Sequence[RawView]) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) from panorama to world axes, and center (3,) of the panorama in meters, world.

    The rotation is the best fit to those of all views (orthogonal Procrustes problem), so that the panorama is level
    with the rig and not with the world, like the skybox. The center is the mean of the centers of the views.
    """
    correlation = sum(view.rotation @ nominal_rotation(view.camera, view.yaw).T for view in views)
    left, _, right = np.linalg.svd(correlation)
    rotation = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    return rotation, np.mean([view.center for view in views], axis=0)


def measure_heading(
    skybox: np.ndarray, images: Sequence[tuple[RawView, np.ndarray]], rotation: np.ndarray
) -> Heading | None:
    """Compare level views with the skybox as seen by their cameras, by phase correlation.

    Args:
        skybox: (H, W, 3) uint8, as a panorama.
        images: views with their color images (h, w, 3) uint8.
        rotation: see `panorama_pose`.

    Returns:
        None when too few images match the skybox.
    """
    yaw = 0.0
    for _ in range(_PASSES):
        pose = rotation @ yaw_rotation(np.radians(-yaw))
        offsets = [
            offset
            for view, image in images
            if (offset := _compare(skybox, image, view.sized(*image.shape[:2]), pose.T @ view.rotation))
        ]
        if len(offsets) < _MIN_VIEWS:
            return None
        yaws, pitches = np.degrees(offsets).T
        yaw += float(np.median(yaws))
    residual = float(np.median(np.abs(yaws - np.median(yaws))))
    return Heading(yaw, residual, float(np.median(pitches)), len(offsets))


def correct_heading(rotation: np.ndarray, heading: Heading) -> np.ndarray:
    """The rotation of `panorama_pose`, corrected by a measured heading."""
    return rotation @ yaw_rotation(np.radians(-heading.yaw))


def _compare(
    skybox: np.ndarray, image: np.ndarray, camera: Pinhole, rotation: np.ndarray
) -> tuple[float, float] | None:
    """Radians by which a view appears too far right and too far up in the skybox; None if they do not match."""
    width = min(_COMPARED_WIDTH, camera.width)
    height = round(width * camera.height / camera.width)
    camera = camera.scaled(height, width)
    seen = erp_to_pinhole(skybox, camera, rotation)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    window = cv2.createHanningWindow((width, height), cv2.CV_64F)
    (right, down), response = cv2.phaseCorrelate(_contrast(small), _contrast(seen), window)
    return (right / camera.fx, -down / camera.fy) if response > _MIN_RESPONSE else None


def _contrast(image: np.ndarray) -> np.ndarray:
    """High-pass filtered brightness (H, W) float64, as low frequencies depend on the exposure."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    return gray - cv2.GaussianBlur(gray, (0, 0), 8)
