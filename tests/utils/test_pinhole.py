import numpy as np
import pytest

from utils.pinhole import Pinhole

CAMERA = Pinhole(fx=50.0, fy=40.0, cx=15.5, cy=11.0, height=24, width=32)


def seen_at(camera, point):
    """Row and column at which a camera sees a point."""
    x, y, z = point
    return camera.fy * y / z + camera.cy, camera.fx * x / z + camera.cx


def test_points_are_seen_where_they_come_from():
    depth = np.random.default_rng(0).uniform(1, 9, (24, 32))
    points = CAMERA.points(depth)
    assert np.array_equal(points[..., 2], depth)
    for row, column in ((0, 0), (23, 31), (7, 20)):
        assert seen_at(CAMERA, points[row, column]) == pytest.approx((row, column))


def test_a_window_sees_a_point_by_so_much_less():
    point = (0.3, -0.2, 2.0)
    row, column = seen_at(CAMERA, point)
    window = CAMERA.cropped(5, 7, 10, 12)
    assert seen_at(window, point) == pytest.approx((row - 5, column - 7))
    assert window.rays().shape == (10, 12, 3)


def test_resized_images_keep_their_borders():
    """The center of the first pixel of an image half the size lies between the first two pixels."""
    point = (0.3, -0.2, 2.0)
    row, column = seen_at(CAMERA, point)
    half = CAMERA.scaled(12, 16)
    assert seen_at(half, point) == pytest.approx(((row + 0.5) / 2 - 0.5, (column + 0.5) / 2 - 0.5))
    for border in (-0.5, 31.5):  # left and right border of the image
        x = (border - CAMERA.cx) / CAMERA.fx
        assert seen_at(CAMERA.scaled(48, 96), (x, 0, 1))[1] == pytest.approx((border + 0.5) * 3 - 0.5)
