"""The pose of the skybox, from the poses of the views and from their images."""

import numpy as np
import pytest

from datasets.preparation.matterport_raw import RawView
from datasets.preparation.matterport_rig import (
    SKYBOX_FACES,
    SKYBOX_ROTATION,
    correct_heading,
    measure_heading,
    nominal_rotation,
    panorama_pose,
    skybox_to_erp,
)
from datasets.rooms.layout import random_room
from datasets.rooms.render import render_room
from utils.pinhole import Pinhole
from utils.projection import CUBE_FACES, cube_camera, erp_to_pinhole
from utils.sphere import erp_rays, yaw_rotation

CAMERA = Pinhole(fx=134.0, fy=134.0, cx=78.0, cy=64.0, height=128, width=160)
WORLD = yaw_rotation(0.8) @ CUBE_FACES["up"] @ yaw_rotation(2.0)  # any rotation from panorama to world axes


def views(heading=0.0, pitch=0.0):
    """All 18 views, turned to the right by `heading`, cameras 0 and 2 also up and down by `pitch` (degrees)."""
    return [
        RawView(
            *(camera, yaw, "", "", CAMERA),
            WORLD @ yaw_rotation(np.radians(heading)) @ nominal_rotation(camera, yaw) @ upward((1 - camera) * pitch),
            np.array([camera, yaw, 1.0]),
        )
        for camera in range(3)
        for yaw in range(6)
    ]


def upward(degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def degrees_between(one, other):
    return np.degrees(np.arccos(((one.T @ other).trace() - 1) / 2))


def test_nominal_rotations():
    """The first yaw is 30 degrees to the left; yaws increase to the right."""
    forward = nominal_rotation(1, 0)[:, 2]
    assert np.degrees(np.arctan2(forward[0], forward[2])) == pytest.approx(-30)
    forward = nominal_rotation(0, 2)[:, 2]
    assert np.degrees(np.arctan2(forward[0], forward[2])) == pytest.approx(90)
    assert forward[1] < -0.5, "camera 0 looks up"
    assert nominal_rotation(2, 2)[1, 2] > 0.5, "camera 2 looks down"


@pytest.mark.parametrize("pitch", [0.0, 2.0])
def test_pose_of_the_panorama(pitch):
    """Equal and opposite pitch errors of cameras 0 and 2 do not tilt it."""
    rotation, center = panorama_pose(views(pitch=pitch))
    assert rotation == pytest.approx(WORLD)
    assert center == pytest.approx([1, 2.5, 1])
    assert panorama_pose(views(pitch=pitch)[:5])[0] == pytest.approx(WORLD, abs=0.05)


def test_skybox_is_centered_on_face_2():
    faces = []
    for name in SKYBOX_FACES:
        directions = cube_camera(32).rays() @ CUBE_FACES[name].T @ SKYBOX_ROTATION.T
        faces.append((directions / np.linalg.norm(directions, axis=-1, keepdims=True)).astype(np.float32))
    assert skybox_to_erp(faces, 64) == pytest.approx(erp_rays(64, 128), abs=0.06)
    assert faces[2][16, 16] == pytest.approx([0, 0, 1], abs=0.05)


@pytest.fixture(scope="module")
def skybox():
    return render_room(random_room(np.random.default_rng(0)), 256, 512, sensor_noise=False).rgb


@pytest.mark.parametrize("heading", [-1.5, 0.4])
def test_heading(skybox, heading):
    level = [view for view in views(heading) if view.camera == 1]
    turn = yaw_rotation(np.radians(heading))
    images = [(view, erp_to_pinhole(skybox, CAMERA, turn @ nominal_rotation(1, view.yaw))) for view in level]
    rotation, _ = panorama_pose(level)
    measured = measure_heading(skybox, images, rotation)
    assert measured.yaw == pytest.approx(heading, abs=0.12)  # pixels are 0.4 degrees
    assert measured.pitch == pytest.approx(0, abs=0.05)
    assert measured.residual < 0.1
    assert measured.num_views == 6
    assert degrees_between(correct_heading(rotation, measured), WORLD) < 0.12


def test_no_heading_from_unrelated_images(skybox):
    other = render_room(random_room(np.random.default_rng(1)), 256, 512, sensor_noise=False).rgb
    level = [view for view in views() if view.camera == 1]
    images = [(view, erp_to_pinhole(other, CAMERA, nominal_rotation(1, view.yaw))) for view in level]
    assert measure_heading(skybox, images, WORLD) is None
