"""Geometry against closed forms and against py360convert."""

import numpy as np
import py360convert
import pytest

from utils.sphere import (
    angles_to_pixels,
    angles_to_rays,
    depth_to_points,
    erp_rays,
    erp_solid_angles,
    icosphere,
    pixels_to_angles,
    rays_to_angles,
    yaw_rotation,
)

HEIGHT, WIDTH = 32, 64


def test_axes():
    """Forward is the center of the image, right is a quarter of the width further, down is the last row."""
    u, v = rays_to_angles(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]))
    assert u == pytest.approx([0, np.pi / 2, 0, -np.pi / 2])
    assert v == pytest.approx([0, 0, np.pi / 2, 0])
    row, col = angles_to_pixels(u, v, HEIGHT, WIDTH)
    assert col == pytest.approx([WIDTH / 2 - 0.5, 3 * WIDTH / 4 - 0.5, WIDTH / 2 - 0.5, WIDTH / 4 - 0.5])
    assert row == pytest.approx([HEIGHT / 2 - 0.5, HEIGHT / 2 - 0.5, HEIGHT - 0.5, HEIGHT / 2 - 0.5])


def test_erp_rays():
    rays = erp_rays(HEIGHT, WIDTH)
    assert np.linalg.norm(rays, axis=-1) == pytest.approx(np.ones((HEIGHT, WIDTH)))
    row, col = angles_to_pixels(*rays_to_angles(rays), HEIGHT, WIDTH)
    assert row == pytest.approx(np.arange(HEIGHT)[:, None] + np.zeros(WIDTH))
    assert col == pytest.approx(np.zeros((HEIGHT, 1)) + np.arange(WIDTH))


def test_angles_and_rays_are_inverse():
    generator = np.random.default_rng(0)
    u, v = generator.uniform(-3.1, 3.1, 100), generator.uniform(-1.5, 1.5, 100)
    assert rays_to_angles(angles_to_rays(u, v)) == (pytest.approx(u), pytest.approx(v))
    assert pixels_to_angles(*angles_to_pixels(u, v, 7, 14), 7, 14) == (pytest.approx(u), pytest.approx(v))


def test_agrees_with_py360convert():
    """py360convert has the same longitude, and latitude growing upward."""
    row, col = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    theirs = py360convert.utils.coor2uv(np.stack([col, row], axis=-1), HEIGHT, WIDTH)
    u, v = pixels_to_angles(row, col, HEIGHT, WIDTH)
    assert np.moveaxis(np.squeeze(theirs), -1, 0) == pytest.approx(np.stack([u, -v]), abs=1e-12)


def test_solid_angles():
    weights = erp_solid_angles(HEIGHT, WIDTH)
    assert weights.sum() * WIDTH == pytest.approx(4 * np.pi)
    assert weights == pytest.approx(weights[::-1])
    # Rows beyond 60 degrees of latitude are a third of the pixels and 1 - sin(60) of the sphere.
    rows = erp_solid_angles(300, 600)
    assert (rows[:50].sum() + rows[250:].sum()) * 600 / (4 * np.pi) == pytest.approx(1 - np.sin(np.pi / 3))


def test_depth_along_the_ray():
    """Depth 3 everywhere is a sphere of radius 3."""
    points = depth_to_points(np.full((HEIGHT, WIDTH), 3.0))
    assert np.linalg.norm(points, axis=-1) == pytest.approx(np.full((HEIGHT, WIDTH), 3.0))


def test_yaw_rotation_adds_to_longitude():
    u, v = np.array([-1.0, 0.0, 2.0]), np.array([0.5, -0.2, 1.0])
    turned = angles_to_rays(u, v) @ yaw_rotation(0.7).T
    assert turned == pytest.approx(angles_to_rays(u + 0.7, v))


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_icosphere(level):
    vertices, faces = icosphere(level)
    assert len(vertices) == 10 * 4**level + 2
    assert len(faces) == 20 * 4**level
    assert np.linalg.norm(vertices, axis=1) == pytest.approx(np.ones(len(vertices)))
    # Vertices are unique, and every edge belongs to two faces.
    assert len(np.unique(vertices.round(9), axis=0)) == len(vertices)
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    # The faces cover the sphere once: their solid angles (van Oosterom and Strackee) sum to 4 pi.
    a, b, c = vertices[faces].transpose(1, 0, 2)
    triple = np.abs((a * np.cross(b, c)).sum(-1))
    solid = 2 * np.arctan2(triple, 1 + (a * b).sum(-1) + (b * c).sum(-1) + (c * a).sum(-1))
    assert solid.sum() == pytest.approx(4 * np.pi)


def test_icosahedron_is_regular_and_oriented():
    vertices, faces = icosphere(0)
    assert vertices[0] == pytest.approx([0, -1, 0])
    assert vertices[1, 0] == pytest.approx(0)
    assert vertices[1, 2] > 0
    edges = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, axis=1)], axis=-1)
    assert edges == pytest.approx(np.full((20, 3), 1 / np.sin(2 * np.pi / 5)))


def test_cached_arrays_are_read_only():
    for constant in (erp_rays(4, 8), erp_solid_angles(4, 8), *icosphere(1)):
        with pytest.raises(ValueError, match="read-only"):
            constant[0] = 0


def test_negative_level():
    with pytest.raises(ValueError, match="level"):
        icosphere(-1)
