"""Cube faces, pinhole images and panoramas, against functions of the direction and against py360convert."""

import numpy as np
import py360convert
import pytest

from utils.pinhole import Pinhole
from utils.projection import (
    CUBE_FACES,
    cube_camera,
    cube_to_erp,
    erp_to_cube,
    erp_to_pinhole,
    pinhole_to_erp,
    sample_erp,
)
from utils.sphere import angles_to_rays, erp_rays, yaw_rotation

HEIGHT = 128
CAMERA = Pinhole(fx=90.0, fy=80.0, cx=61.0, cy=50.0, height=96, width=128)
TURN = yaw_rotation(2.5) @ CUBE_FACES["up"] @ yaw_rotation(0.4)  # an arbitrary rotation


def colors(vectors):
    """Colors (..., 3) float32 of a smooth image of the sphere in directions (..., 3)."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.sin(unit * [2.0, 3.0, 1.5] + unit[..., [1, 2, 0]]).astype(np.float32)


def panorama():
    return colors(erp_rays(HEIGHT, 2 * HEIGHT))


def faces(size=96):
    return {name: colors(cube_camera(size).rays() @ matrix.T) for name, matrix in CUBE_FACES.items()}


def test_project_inverts_rays():
    row, col = CAMERA.project(2.5 * CAMERA.rays())
    assert row == pytest.approx(np.mgrid[:96, :128][0])
    assert col == pytest.approx(np.mgrid[:96, :128][1])


@pytest.mark.parametrize("vector", [(0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.5)])
def test_project_outside_image(vector):
    assert np.isnan(CAMERA.project(np.array(vector))).all()


@pytest.mark.parametrize(("row", "col"), [(-0.5, 60.0), (95.5, 60.0), (40.0, -0.5), (40.0, 127.5)])
def test_borders_of_image(row, col):
    """Images end half a pixel beyond the outermost pixel centers."""
    for scale, is_inside in ((0.999, True), (1.001, False)):
        x, y = (
            (63.5 + scale * (col - 63.5) - CAMERA.cx) / CAMERA.fx,
            (47.5 + scale * (row - 47.5) - CAMERA.cy) / CAMERA.fy,
        )
        assert np.isfinite(CAMERA.project(np.array([x, y, 1.0]))).all() == is_inside


@pytest.mark.parametrize("rotation", [None, TURN])
def test_erp_to_pinhole(rotation):
    seen = erp_to_pinhole(panorama(), CAMERA, rotation)
    assert seen == pytest.approx(colors(CAMERA.rays() @ (np.eye(3) if rotation is None else rotation).T), abs=0.03)


@pytest.mark.parametrize("rotation", [None, TURN])
def test_pinhole_to_erp(rotation):
    matrix = np.eye(3) if rotation is None else rotation
    image, covered = pinhole_to_erp(colors(CAMERA.rays() @ matrix.T), CAMERA, HEIGHT, rotation)
    directions = erp_rays(HEIGHT, 2 * HEIGHT) @ matrix
    scaled = directions / np.where(directions[..., 2:] > 0, directions[..., 2:], np.nan)
    assert np.array_equal(covered, np.isfinite(CAMERA.project(scaled)[0]))
    assert 0.05 < covered.mean() < 0.2
    assert image[covered] == pytest.approx(panorama()[covered], abs=0.02)


@pytest.mark.parametrize("rotation", [None, TURN])
def test_cube_to_erp(rotation):
    matrix = np.eye(3) if rotation is None else rotation
    expected = colors(erp_rays(HEIGHT, 2 * HEIGHT) @ matrix)
    assert cube_to_erp(faces(), HEIGHT, rotation) == pytest.approx(expected, abs=0.02)


def test_erp_to_cube():
    for name, face in erp_to_cube(panorama(), 96).items():
        assert face == pytest.approx(faces()[name], abs=2e-3), name


def test_faces_join():
    """All four neighbors of the front share a border with it."""
    cube = faces()
    for border, other in (
        (cube["up"][-1], cube["front"][0]),
        (cube["down"][0], cube["front"][-1]),
        (cube["right"][:, 0], cube["front"][:, -1]),
        (cube["left"][:, -1], cube["front"][:, 0]),
    ):
        assert border == pytest.approx(other, abs=0.06)


def test_columns_wrap_around():
    """Halfway between the last and the first column, the value is their mean."""
    image = np.zeros((4, 8), np.float32)
    image[:, 0], image[:, -1] = 1, 3
    behind = angles_to_rays(np.full((1, 1), np.pi), np.zeros((1, 1)))
    assert sample_erp(image, behind).item() == pytest.approx(2)


def test_nearest():
    labels = np.where(np.arange(2 * HEIGHT) % 3, 7, 40).astype(np.uint8) * np.ones((HEIGHT, 1), np.uint8)
    assert set(np.unique(erp_to_pinhole(labels, CAMERA, nearest=True))) == {7, 40}


def test_agrees_with_py360convert():
    """Approximately, as its field of view ends at the centers of the outermost pixels."""
    cube = faces()
    lettered = {name[0].upper(): face for name, face in cube.items()}
    theirs = py360convert.c2e(lettered, HEIGHT, 2 * HEIGHT, cube_format="dict")
    assert np.median(np.abs(theirs - cube_to_erp(cube, HEIGHT))) < 0.01
    cut = py360convert.e2c(panorama(), 96, cube_format="dict")
    for name, face in erp_to_cube(panorama(), 96).items():
        assert np.median(np.abs(cut[name[0].upper()] - face)) < 0.01, name
    camera = Pinhole.from_fov(90, 64, 64)
    turned = py360convert.e2p(panorama(), fov_deg=90, u_deg=40, v_deg=0, out_hw=(64, 64))
    assert np.abs(turned - erp_to_pinhole(panorama(), camera, yaw_rotation(np.radians(40)))).mean() < 0.02
