import numpy as np
import pytest

from utils.pinhole import Pinhole

CAMERA = Pinhole(fx=50.0, fy=40.0, cx=15.5, cy=11.0, height=24, width=32)


def seen_at(camera, point):
    """Row and column of a point."""
    x, y, z = point
    return camera.fy * y / z + camera.cy, camera.fx * x / z + camera.cx


def test_points():
    """Points are seen at the pixels they come from."""
    depth = np.random.default_rng(0).uniform(1, 9, (24, 32))
    points = CAMERA.points(depth)
    assert np.array_equal(points[..., 2], depth)
    for row, column in ((0, 0), (23, 31), (7, 20)):
        assert seen_at(CAMERA, points[row, column]) == pytest.approx((row, column))


def test_cropped():
    point = (0.3, -0.2, 2.0)
    row, column = seen_at(CAMERA, point)
    window = CAMERA.cropped(5, 7, 10, 12)
    assert seen_at(window, point) == pytest.approx((row - 5, column - 7))
    assert window.rays().shape == (10, 12, 3)


def test_scaled():
    """The center of the first pixel of an image half the size lies between the first two pixels."""
    point = (0.3, -0.2, 2.0)
    row, column = seen_at(CAMERA, point)
    half = CAMERA.scaled(12, 16)
    assert seen_at(half, point) == pytest.approx(((row + 0.5) / 2 - 0.5, (column + 0.5) / 2 - 0.5))
    for border in (-0.5, 31.5):  # left and right border of the image
        x = (border - CAMERA.cx) / CAMERA.fx
        assert seen_at(CAMERA.scaled(48, 96), (x, 0, 1))[1] == pytest.approx((border + 0.5) * 3 - 0.5)


def test_from_fov():
    """At a distance of 1 m, 90 degrees reach 1 m to either side of the center."""
    camera = Pinhole.from_fov(90, 24, 32)
    assert seen_at(camera, (-1, 0, 1)) == pytest.approx((11.5, -0.5))
    assert seen_at(camera, (1, 0.25, 1)) == pytest.approx((15.5, 31.5))
    assert Pinhole.from_fov(60, 24, 32).fx == pytest.approx(16 * 3**0.5)


@pytest.mark.parametrize("size", [(24, 36), (36, 24), (48, 72)])
def test_from_35mm(size):
    """An image with the aspect ratio of the film has its focal length, in units of its width."""
    camera = Pinhole.from_35mm(50, *size)
    assert (camera.fx, camera.fy) == pytest.approx((50 * max(size) / 36,) * 2)
    row, column = seen_at(camera, (0, 0, 1))
    assert (row, column) == pytest.approx(((size[0] - 1) / 2, (size[1] - 1) / 2))


def test_from_35mm_uses_the_diagonal():
    """As camera makers do: a 4:3 image has the focal length of film with the same diagonal."""
    unit = np.hypot(36, 24) / 5
    camera = Pinhole.from_35mm(26, 300, 400)
    assert camera.fx * unit / 100 == pytest.approx(26)
