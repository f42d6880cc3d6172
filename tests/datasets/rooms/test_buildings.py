"""Properties of varied rooms, and their variety."""

from collections import Counter

import numpy as np
import pytest

from datasets.classes import STANFORD2D3D
from datasets.rooms.buildings import random_building
from datasets.rooms.render import render_room
from datasets.rooms.shapes import SolidTable
from utils.sphere import erp_rays


@pytest.fixture(scope="module")
def rooms():
    return [random_building(np.random.default_rng(seed)) for seed in range(60)]


@pytest.fixture(scope="module")
def views(rooms):
    return [render_room(room, 32, 64) for room in rooms]


def test_ground_truth(views):
    toward = erp_rays(32, 64)
    for view in views:
        assert np.isfinite(view.depth).all()
        assert view.depth.min() > 0.02
        assert np.abs(np.linalg.norm(view.normal, axis=-1) - 1).max() < 1e-5
        assert ((view.normal * toward).sum(-1) < 0).all()
        assert (view.semantic >= 0).all()
        assert (view.semantic < len(STANFORD2D3D)).all()


def test_camera_has_free_space(rooms):
    for room in rooms:
        solids = SolidTable.of([part.solid for part in room.all_parts()])
        camera = room.camera
        assert 1.0 <= camera.height < room.ceiling - 0.1
        for angle in np.linspace(0, 2 * np.pi, 12):
            x, z = camera.x + 0.2 * np.sin(angle), camera.z + 0.2 * np.cos(angle)
            assert not solids.contains(x, z, camera.height).any()


def test_rooms_are_varied(rooms, views):
    """Low and high ceilings, rooms with many corners, small and large depths, all classes, dark and bright images."""
    ceilings = np.array([room.ceiling for room in rooms])
    assert (ceilings < 2.5).sum() > 5
    assert (ceilings > 3.5).sum() > 2
    assert sum(len(room.corners) > 4 for room in rooms) > 30
    farthest = np.array([view.depth.max() for view in views])
    assert (farthest < 4).sum() > 3
    assert (farthest > 12).sum() > 5
    seen = Counter(label for view in views for label in np.unique(view.semantic).tolist())
    assert set(seen) == set(range(len(STANFORD2D3D)))
    brightness = np.array([view.rgb.mean() for view in views])
    assert np.ptp(brightness) > 60
    assert brightness.min() > 20


def test_open_doors_touch_no_furniture(rooms):
    """The center of an open leaf, recognized by its thickness and yaw, is only in doors and walls."""
    leaves = 0
    for room in rooms:
        labels = np.array([part.label for part in room.parts])
        solids = SolidTable.of([part.solid for part in room.parts])
        for solid in (part.solid for part in room.parts if part.label == "door"):
            if abs(2 * solid.half_z - 0.045) < 1e-9 and abs(solid.yaw % (np.pi / 2)) > 1e-3:
                leaves += 1
                around = set(labels[solids.contains(solid.x, solid.z, 1.0)])
                assert around <= {"door", "wall"}
    assert leaves > 10


def test_rooms_are_reproducible():
    one, other = (random_building(np.random.default_rng(5)) for _ in range(2))
    assert one.corners == other.corners
    assert one.camera == other.camera
    assert np.array_equal(render_room(one, 16, 32).rgb, render_room(other, 16, 32).rgb)


def test_furniture_stands_inside(rooms):
    """The centers of all furniture are within the outline."""
    for room in rooms[:20]:
        corners = np.array(room.corners)
        for part in room.parts:
            if part.label in ("chair", "sofa", "bookcase", "table"):
                assert inside(corners, part.solid.x, part.solid.z)


def inside(corners: np.ndarray, x: float, z: float) -> bool:
    """Whether a ray from the point toward +x crosses the outline an odd number of times."""
    ends = np.roll(corners, -1, axis=0)
    between = (corners[:, 1] > z) != (ends[:, 1] > z)
    return int((between & (corners[:, 0] > x)).sum()) % 2 == 1
