"""Panoramas stitched from views of a box-shaped room, against closed forms."""

import numpy as np
import pytest

from datasets.preparation.stitching import PlacedView, stitch
from utils.pinhole import Pinhole
from utils.projection import CUBE_FACES
from utils.sphere import erp_rays

HEIGHT = 64
CAMERA = Pinhole(fx=62.0, fy=64.0, cx=70.0, cy=72.0, height=150, width=144)  # 98 degrees
LOW, HIGH = np.array([-1.5, -1.2, -2.5]), np.array([2.0, 1.4, 1.8])


def cast(center, rays):
    """Distances (...) at which rays (..., 3) from a point in the room hit its walls, and the normals (..., 3) there."""
    with np.errstate(divide="ignore"):
        walls = np.where(rays >= 0, (HIGH - center) / rays, (LOW - center) / rays)
    axis = walls.argmin(axis=-1)
    normal = np.zeros(rays.shape)
    np.put_along_axis(normal, axis[..., None], -np.sign(np.take_along_axis(rays, axis[..., None], -1)), -1)
    return walls.min(axis=-1), normal


def view(rotation, center=(0, 0, 0), camera=CAMERA):
    """Depth and normals as seen by the camera."""
    depth, normal = cast(np.array(center), camera.rays() @ rotation.T)  # rays have z = 1
    return PlacedView(camera, rotation, np.array(center, float), depth, normal @ rotation)


def all_views(centers):
    return [view(rotation, center) for rotation, center in zip(CUBE_FACES.values(), centers, strict=True)]


def away_from_corners():
    """Mask (H, W) of the pixels whose four neighbors are on the same wall."""
    _, normal = cast(np.zeros(3), erp_rays(HEIGHT, 2 * HEIGHT))
    same = [(np.roll(normal, shift, axis) == normal).all(-1) for axis in (0, 1) for shift in (-1, 1)]
    return np.logical_and.reduce(same)


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_walls(spread):
    """With a common center, and with centers a few centimeters apart."""
    centers = np.random.default_rng(0).uniform(-spread, spread, (6, 3))
    maps = stitch(all_views(centers), HEIGHT)
    depth, normal = cast(np.zeros(3), erp_rays(HEIGHT, 2 * HEIGHT))
    inner = away_from_corners()
    assert (maps.depth[inner] > 0).mean() > 0.995
    inner &= maps.depth > 0
    assert maps.depth[inner] == pytest.approx(depth[inner], rel=2e-4)
    assert maps.normal[inner] == pytest.approx(normal[inner], abs=1e-9)
    assert maps.disagreement < 1e-4


def test_view_closest_to_its_optical_axis_wins():
    front = view(np.eye(3))
    doubled = PlacedView(CAMERA, CUBE_FACES["right"], np.zeros(3), 2 * view(CUBE_FACES["right"]).depth)
    depth, _ = cast(np.zeros(3), erp_rays(HEIGHT, 2 * HEIGHT))
    for views in ([front, doubled], [doubled, front]):
        maps = stitch(views, HEIGHT)
        ratio = maps.depth[HEIGHT // 2] / depth[HEIGHT // 2]
        columns = np.flatnonzero(np.isclose(ratio, 1, rtol=0.01))
        assert columns.max() == pytest.approx(HEIGHT + 0.25 * HEIGHT, abs=1.5), "45 degrees right of the center"
        assert np.isclose(ratio, 2, rtol=0.01).sum() > HEIGHT / 3
        assert maps.disagreement == pytest.approx(1 if views[0] is front else 0.5, rel=0.01)


def test_axes_are_those_of_the_views_at_their_centers():
    """Of two views with parallel axes, the right one shows what is right of the middle."""
    left, right = (view(np.eye(3), (x, 0.0, 0.0)) for x in (-0.1, 0.1))
    left.normal[:], right.normal[:] = (1, 0, 0), (0, 1, 0)
    for views in ([left, right], [right, left]):
        ahead = stitch(views, HEIGHT).normal[HEIGHT // 2, HEIGHT - 12 : HEIGHT + 12]
        assert np.array_equal(ahead, [(1, 0, 0)] * 12 + [(0, 1, 0)] * 12)


def test_holes_are_filled_by_other_views():
    front, side = view(np.eye(3)), view(CUBE_FACES["right"])
    front.depth[:, 131:] = 0  # beyond 44.5 degrees to the right, which the other view sees, too
    front.depth[:, :9] = 0  # beyond 44.5 degrees to the left
    maps = stitch([front, side], HEIGHT)
    row = maps.depth[HEIGHT // 2]
    degrees = (np.arange(2 * HEIGHT) + 0.5 - HEIGHT) / HEIGHT * 180
    assert row[(degrees > -43) & (degrees < 130)].all()
    assert not row[(degrees < -46) & (degrees > -180)].any()
    assert not maps.normal[maps.depth == 0].any()


def test_depth_is_not_interpolated_across_edges():
    """A pole in front of a wall: every depth is that of one of them."""
    flat = PlacedView(CAMERA, np.eye(3), np.zeros(3), np.full((150, 144), 4.0))
    flat.depth[:, 60:80] = 1.0
    maps = stitch([flat], HEIGHT)
    z = maps.depth * erp_rays(HEIGHT, 2 * HEIGHT)[..., 2]
    assert np.abs(z[maps.depth > 0][:, None] - [1.0, 4.0]).min(axis=1).max() < 1e-9
