"""How the 18 views of a Matterport3D viewpoint and its skybox lie to each other.

The camera turns about its axis and stops at six yaws, where three cameras take a picture each. The skybox is stitched
from these pictures and has no pose: its faces 1 to 4 are a turn to the right, seen from inside, and the first of the
six pictures is taken 30 degrees to the left of the middle of face 2. So the poses of the views give that of the
skybox, up to what `measure_heading` then finds by comparing pictures.

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

# The cube's front is face 1.
SKYBOX_FACES = ("up", "front", "right", "back", "left", "down")
SKYBOX_ROTATION = yaw_rotation(-np.pi / 2)  # from the axes of the cube to those of the panorama
_FIRST_YAW, _YAW_STEP = -30.0, 60.0  # degrees to the right of the panorama's center
_NOMINAL_PITCH = (42.0, 0.0, -42.0)  # degrees upward, of the three cameras
LEVEL = 1  # the camera whose views are compared with the skybox
_COMPARED_WIDTH = 320  # pixels
# Response of the phase correlation: 0.96 to 0.98 on the real viewpoint, and up to 0.06 with pictures of other views.
_MIN_RESPONSE = 0.2
_MIN_VIEWS = 3
_PASSES = 2  # the correlation is more exact for small offsets


@dataclass(frozen=True)
class Heading:
    """How level views lie to the skybox. All in degrees.

    Attributes:
        yaw: by which the views have to be turned to the right to meet the skybox; the median over them.
        residual: median difference of a view from that, after turning.
        pitch: by which the views appear too high in the skybox; the median.
        num_views: that could be compared.
    """

    yaw: float
    residual: float
    pitch: float
    num_views: int


def skybox_to_erp(faces: Sequence[np.ndarray], height: int) -> np.ndarray:
    """The panorama (height, 2 height, 3) of the six skybox images (S, S, 3), at one sample per pixel."""
    return cube_to_erp(dict(zip(SKYBOX_FACES, faces, strict=True)), height, SKYBOX_ROTATION)


def nominal_rotation(camera: int, yaw: int) -> np.ndarray:
    """(3, 3) from camera axes to those of the panorama, as the rig is built."""
    pitch = np.radians(_NOMINAL_PITCH[camera])
    cos, sin = np.cos(pitch), np.sin(pitch)
    upward = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return yaw_rotation(np.radians(_FIRST_YAW + _YAW_STEP * yaw)) @ upward


def panorama_pose(views: Sequence[RawView]) -> tuple[np.ndarray, np.ndarray]:
    """The rotation (3, 3) from panorama axes to those of the world, and the center (3,) of the panorama in meters.

    The rotation that fits those of all views best (orthogonal Procrustes problem), so that the panorama is level with
    the rig and not with the world, as the skybox is; the center is the mean of the views'.
    """
    correlation = sum(view.rotation @ nominal_rotation(view.camera, view.yaw).T for view in views)
    left, _, right = np.linalg.svd(correlation)
    rotation = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    return rotation, np.mean([view.center for view in views], axis=0)


def measure_heading(
    skybox: np.ndarray, pictures: Sequence[tuple[RawView, np.ndarray]], rotation: np.ndarray
) -> Heading | None:
    """Compare level views with what their cameras would see of the skybox, by phase correlation.

    Args:
        skybox: (H, W, 3) uint8, as a panorama.
        pictures: views, and what they show, (h, w, 3) uint8.
        rotation: see `panorama_pose`.

    Returns:
        None when too few of the pictures match the skybox.
    """
    yaw = 0.0
    for _ in range(_PASSES):
        pose = rotation @ yaw_rotation(np.radians(-yaw))
        offsets = [
            offset
            for view, picture in pictures
            if (offset := _compare(skybox, picture, view.sized(*picture.shape[:2]), pose.T @ view.rotation))
        ]
        if len(offsets) < _MIN_VIEWS:
            return None
        yaws, pitches = np.degrees(offsets).T
        yaw += float(np.median(yaws))
    residual = float(np.median(np.abs(yaws - np.median(yaws))))
    return Heading(yaw, residual, float(np.median(pitches)), len(offsets))


def turned(rotation: np.ndarray, heading: Heading) -> np.ndarray:
    """The pose of the panorama, corrected by a measured heading."""
    return rotation @ yaw_rotation(np.radians(-heading.yaw))


def _compare(
    skybox: np.ndarray, picture: np.ndarray, camera: Pinhole, rotation: np.ndarray
) -> tuple[float, float] | None:
    """Radians by which a view appears in the skybox too far right, and too far up; None if they do not match."""
    width = min(_COMPARED_WIDTH, camera.width)
    height = round(width * camera.height / camera.width)
    camera = camera.scaled(height, width)
    seen = erp_to_pinhole(skybox, camera, rotation)
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    (right, down), response = cv2.phaseCorrelate(
        *(_contrast(image) for image in (small, seen)), cv2.createHanningWindow((width, height), cv2.CV_64F)
    )
    return (right / camera.fx, -down / camera.fy) if response > _MIN_RESPONSE else None


def _contrast(image: np.ndarray) -> np.ndarray:
    """(H, W) float64: brightness without its slow changes, which differ between pictures of different exposure."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    return gray - cv2.GaussianBlur(gray, (0, 0), 8)
