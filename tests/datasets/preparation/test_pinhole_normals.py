"""Normals computed from the depth of planes, and detection of the axes of stored normals."""

import numpy as np
import pytest

from datasets.preparation.axes import ALL_AXES
from datasets.preparation.pinhole_normals import (
    NORMAL_AXES,
    add_measurements,
    estimate_normals,
    find_axes,
    implied_normals,
    measure_axes,
    normals_from_z_depth,
)
from utils.errors import UserError
from utils.pinhole import Pinhole

CAMERA = Pinhole(52.0, 50.0, 31.0, 24.5, 48, 64)


def plane(normal, distance=2.0):
    """Depth (H, W) of the plane of points p with normal . p = -distance; 0 where rays miss it."""
    slope = CAMERA.rays() @ normal
    return np.where(slope < -0.1, -distance / np.minimum(slope, -1e-9), 0)


def unit(*vector):
    return np.array(vector) / np.linalg.norm(vector)


def corner():
    """Depth (H, W) and normals (H, W, 3) of a wall ahead, a wall on the right, and the floor."""
    normals = np.array([(0, 0, -1), (-1, 0, 0), (0, -1, 0)], float)
    depths = np.stack([plane(normals[0], 3.0), plane(normals[1], 1.0), plane(normals[2], 0.7)])
    depths[depths == 0] = np.inf
    return depths.min(axis=0), normals[depths.argmin(axis=0)]


@pytest.mark.parametrize("reach", [1, 3])
@pytest.mark.parametrize("normal", [unit(0, 0, -1), unit(0.4, -0.7, -1), unit(-0.5, 0.2, -1)])
def test_plane(normal, reach):
    found = normals_from_z_depth(plane(normal), CAMERA, reach)
    assert np.allclose(found[reach:-reach, reach:-reach], normal, atol=1e-9)
    assert not found[:reach].any()
    assert not found[:, -reach:].any()


def test_no_normals_at_holes_and_edges():
    depth = plane(unit(0, 0, -1))
    depth[20, 30] = 0
    depth[21, 40] = np.nan
    depth[:, 50:] *= 2
    found = normals_from_z_depth(depth, CAMERA).any(axis=-1)
    for row, column in ((20, 30), (20, 31), (19, 30), (21, 40), (22, 40), (10, 49), (10, 50)):
        assert not found[row, column], (row, column)
    assert found[10, 48]
    assert found[10, 52]


def test_estimated_normals_are_robust_to_noise():
    normal = unit(0.3, -0.5, -1)
    camera = CAMERA.scaled(480, 640)
    slope = camera.rays() @ normal
    depth = -2 / slope + np.random.default_rng(0).normal(scale=0.004, size=slope.shape)
    found = estimate_normals(depth.astype(np.float32), camera)[20:-20, 20:-20]
    angles = np.degrees(np.arccos((found @ normal).clip(-1, 1)))
    assert np.median(angles) < 5


@pytest.mark.parametrize("axes", NORMAL_AXES)
def test_all_signs_are_detected(axes):
    depth, normal = corner()
    stored = (normal * NORMAL_AXES[axes]).astype(np.float32)
    name, near = find_axes(measure_axes(stored, implied_normals(depth, CAMERA)))
    assert name == axes
    assert near > 0.9


def test_normals_away_from_the_camera_have_opposite_axes():
    """A wall ahead is stored as (0, 0, +1)."""
    depth, normal = corner()
    assert find_axes(measure_axes((-normal).astype(np.float32), implied_normals(depth, CAMERA)))[0] == "left-up-back"


def test_swapped_channels_are_detected():
    depth, normal = corner()
    measured = measure_axes(normal[..., ::-1].astype(np.float32), implied_normals(depth, CAMERA))
    with pytest.raises(UserError, match=r"\(z, y, x\)"):
        find_axes(measured)


def test_random_normals():
    rng = np.random.default_rng(0)
    depth, normal = corner()
    random = rng.normal(size=normal.shape)
    random /= np.linalg.norm(random, axis=-1, keepdims=True)
    with pytest.raises(UserError, match="any signs"):
        find_axes(measure_axes(random.astype(np.float32), implied_normals(depth, CAMERA)))


def test_single_wall_is_insufficient():
    normal = unit(0, 0, -1)
    stored = np.broadcast_to(normal, (48, 64, 3)).astype(np.float32)
    measured = measure_axes(stored, implied_normals(plane(normal), CAMERA))
    with pytest.raises(UserError, match="signs"):
        find_axes(measured)
    depth, others = corner()
    both = add_measurements([measured, measure_axes(others.astype(np.float32), implied_normals(depth, CAMERA))])
    assert find_axes(both)[0] == "right-down-forward"


def test_too_few_pixels():
    depth, normal = corner()
    with pytest.raises(UserError, match="too few"):
        find_axes(measure_axes(np.zeros_like(normal, dtype=np.float32), implied_normals(depth, CAMERA)))


def test_names_of_axes():
    assert next(iter(NORMAL_AXES)) == "right-down-forward"
    assert NORMAL_AXES["right-down-back"].tolist() == [1, 1, -1]
    assert NORMAL_AXES["left-up-back"].tolist() == [-1, -1, -1]
    signs = {tuple(np.diag(matrix)) for matrix in ALL_AXES[:8]}
    assert signs == {tuple(axes) for axes in NORMAL_AXES.values()}
