"""Rooms seen by a pinhole camera, against closed forms and against panoramas of the same rooms."""

from dataclasses import replace

import numpy as np
import pytest

from datasets.rooms.casting import Camera, cast
from datasets.rooms.layout import random_room
from datasets.rooms.perspective import Pose, _windows, cast_rays, random_pose, render_perspective
from datasets.rooms.shapes import SolidTable, shell, sphere
from utils.pinhole import Pinhole
from utils.sphere import erp_rays, yaw_rotation

PINHOLE = Pinhole(52.0, 50.0, 31.0, 24.5, 48, 64)


def room_and_solids(seed):
    room = random_room(np.random.default_rng(seed))
    return room, SolidTable.of([part.solid for part in room.all_parts()])


@pytest.mark.parametrize("seed", range(3))
def test_rays_of_a_panorama_have_the_same_hits(seed):
    room, solids = room_and_solids(seed)
    expected = cast(solids, room.camera, 32, 64)
    hits = cast_rays(solids, room.camera, erp_rays(32, 64) @ yaw_rotation(room.camera.yaw).T)
    assert np.allclose(hits.depth, expected.depth, atol=1e-9)
    assert np.array_equal(hits.solid, expected.solid)
    assert np.array_equal(hits.face, expected.face)


@pytest.mark.parametrize("seed", range(3))
def test_windows_do_not_change_hits(seed):
    room, solids = room_and_solids(seed)
    pose = random_pose(room, np.random.default_rng(seed))
    rays = PINHOLE.rays() @ pose.rotation().T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    windows = _windows(solids, PINHOLE, pose)
    assert any(window is None for window in windows)
    expected, hits = cast_rays(solids, pose.camera, rays), cast_rays(solids, pose.camera, rays, windows)
    assert np.array_equal(hits.depth, expected.depth)
    assert np.array_equal(hits.solid, expected.solid)


def test_depth_is_along_the_optical_axis():
    """In a room of 6 x 6 m, 1 m behind the center, the wall ahead has the same depth everywhere."""
    room, _ = room_and_solids(0)
    square = replace(
        room,
        corners=((-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0)),
        wall_materials=room.wall_materials[:1] * 4,
        parts=(),
        ceiling=3.0,
    )
    view = render_perspective(square, PINHOLE, Pose(Camera(0.0, -1.0, 1.5, 0.0)))
    wall = view.normal[..., 2] < -0.5
    assert wall[24, 32]
    assert np.allclose(view.depth[wall], 4.0, atol=1e-6)
    assert np.allclose(view.normal[wall], (0, 0, -1), atol=1e-6)
    floor = view.normal[..., 1] < -0.5
    # A floor 1.5 m below: depth = 1.5 / slope of the ray.
    slope = np.broadcast_to((np.arange(48)[:, None] - PINHOLE.cy) / PINHOLE.fy, floor.shape)
    assert floor.any()
    assert np.allclose(view.depth[floor], 1.5 / slope[floor], rtol=1e-5)


def test_pitch_is_downward_and_roll_clockwise():
    """With pitch, a ball ahead moves up in the image; with roll, a ball on the right moves up."""

    def ball_center(x, z, **rotated):
        walls = shell(((-9.0, -9.0), (9.0, -9.0), (9.0, 9.0), (-9.0, 9.0)), 3.0)
        solids = SolidTable.of([*walls, sphere(x, z, 1.5, 0.2)])
        rays = PINHOLE.rays() @ Pose(Camera(0, 0, 1.5), **rotated).rotation().T
        hits = cast_rays(solids, Camera(0, 0, 1.5), rays / np.linalg.norm(rays, axis=-1, keepdims=True))
        return np.argwhere(hits.solid == len(walls)).mean(axis=0)

    assert ball_center(0, 3) == pytest.approx((PINHOLE.cy, PINHOLE.cx), abs=0.5)
    row, column = ball_center(0, 3, pitch=0.2)
    assert row == pytest.approx(PINHOLE.cy - PINHOLE.fy * np.tan(0.2), abs=0.5)
    assert column == pytest.approx(PINHOLE.cx, abs=0.5)
    level, rolled = ball_center(1, 3), ball_center(1, 3, roll=0.2)
    assert rolled[0] < level[0] - 2


def test_normals_match_depth():
    """Normals are perpendicular to the surfaces spanned by neighboring points, and point toward the camera."""
    room, _ = room_and_solids(1)
    view = render_perspective(room, PINHOLE, random_pose(room, np.random.default_rng(1)))
    points = PINHOLE.points(view.depth.astype(float))
    assert ((view.normal * points).sum(-1) < 0).all()
    assert np.allclose(np.linalg.norm(view.normal, axis=-1), 1, atol=1e-5)
    right, down = points[:-1, 1:] - points[:-1, :-1], points[1:, :-1] - points[:-1, :-1]
    spanned = np.cross(down, right)
    spanned /= np.linalg.norm(spanned, axis=-1, keepdims=True)
    same = (
        (view.semantic[:-1, :-1] == view.semantic[:-1, 1:])
        & (view.semantic[:-1, :-1] == view.semantic[1:, :-1])
        & np.isin(view.semantic[:-1, :-1], (3, 8, 11))  # ceiling, floor, wall
    )
    assert same.sum() > 200
    assert ((spanned * view.normal[:-1, :-1]).sum(-1)[same] > 0.99).mean() > 0.95
