"""Normals from depth against closed forms."""

import numpy as np
import pytest

from datasets.preparation.normals_from_depth import normals_from_depth
from utils.sphere import erp_rays, yaw_rotation

HEIGHT, WIDTH = 64, 128
RAYS = erp_rays(HEIGHT, WIDTH)
KNOWN = np.s_[1:-1]  # rows: the first and the last have no normals


def angles_between(a, b):
    """Angles in degrees between unit vectors (..., 3)."""
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


def box_room(half_sizes=(2.0, 1.2, 3.0)):
    """Depth (H, W) and normals (H, W, 3) of a box around the camera."""
    distances = np.array(half_sizes) / np.maximum(np.abs(RAYS), 1e-9)
    wall = distances.argmin(axis=-1)
    return distances.min(axis=-1), -np.sign(RAYS) * np.eye(3)[wall]


@pytest.mark.parametrize("reach", [1, 2])
def test_sphere_around_the_camera(reach):
    normal = normals_from_depth(np.full((HEIGHT, WIDTH), 2.5), reach)
    assert normal[reach:-reach] == pytest.approx(-RAYS[reach:-reach], abs=1e-9)


@pytest.mark.parametrize("reach", [1, 2])
def test_floor_and_ceiling_are_exact(reach):
    """Differences between points of a plane lie in the plane for any reach."""
    depth = 1.6 / np.maximum(np.abs(RAYS[..., 1]), 0.05)
    normal = normals_from_depth(depth, reach)
    steep = np.abs(RAYS[..., 1]) > 0.75  # closer to the horizon, depth changes as much as at an edge
    steep[:reach] = steep[-reach:] = False
    floor = steep & (RAYS[..., 1] > 0)
    assert normal[floor] == pytest.approx(np.broadcast_to([0, -1, 0], (floor.sum(), 3)), abs=1e-9)
    assert normal[steep & ~floor] == pytest.approx(np.broadcast_to([0, 1, 0], (floor.sum(), 3)), abs=1e-9)


def test_box_room():
    depth, expected = box_room()
    normal = normals_from_depth(depth)
    known = normal.any(axis=-1)
    assert known[KNOWN].mean() > 0.95
    angles = angles_between(normal, expected)[known]
    assert np.median(angles) < 1e-4
    assert (angles < 1).mean() > 0.85, "all but the pixels along the edges of the room"


def test_unit_vectors_toward_the_camera():
    depth, _ = box_room()
    normal = normals_from_depth(depth * np.random.default_rng(0).uniform(0.98, 1.02, depth.shape))
    known = normal.any(axis=-1)
    assert ((normal * RAYS).sum(-1)[known] < 0).all()
    assert np.linalg.norm(normal, axis=-1)[known] == pytest.approx(np.ones(known.sum()))


@pytest.mark.parametrize("missing", [0, -1, np.nan, np.inf])
def test_no_normals_around_missing_depth(missing):
    depth = np.full((HEIGHT, WIDTH), 2.0)
    depth[30, 40] = missing
    known = normals_from_depth(depth, reach=2).any(axis=-1)
    expected = np.ones((HEIGHT, WIDTH), bool)
    expected[[0, 1, -2, -1]] = False  # the poles
    expected[[30, 28, 32, 30, 30], [40, 40, 40, 38, 42]] = False
    assert np.array_equal(known, expected)


def test_no_normals_across_an_edge():
    depth = np.full((HEIGHT, WIDTH), 2.0)
    depth[:, 50:90] = 3.0
    known = normals_from_depth(depth).any(axis=-1)[KNOWN]
    assert (~known).any(axis=0).nonzero()[0].tolist() == [49, 50, 89, 90]


def test_columns_wrap_around():
    """Rolled depth gives rolled normals, turned by the same angle."""
    depth, _ = box_room()
    turned = np.roll(normals_from_depth(depth), 37, axis=1) @ yaw_rotation(2 * np.pi * 37 / WIDTH).T
    assert normals_from_depth(np.roll(depth, 37, axis=1)) == pytest.approx(turned, abs=1e-9)
