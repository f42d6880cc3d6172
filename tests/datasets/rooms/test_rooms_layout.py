"""Footprints against grids of points, and properties of floor plans and random rooms."""

import numpy as np
import pytest

from datasets.rooms.floor_plan import FloorPlan, Footprint, Place
from datasets.rooms.layout import random_room
from datasets.rooms.shapes import SolidTable


def grid_of(footprint: Footprint) -> np.ndarray:
    """Points (N, 2) of the footprint, in world x, z."""
    steps = np.linspace(-1, 1, 25)
    place = Place(footprint.x, footprint.z, footprint.yaw)
    spots = [place.at(a * footprint.half_x, b * footprint.half_z) for a in steps for b in steps]
    return np.array([(spot.x, spot.z) for spot in spots])


def contains(footprint: Footprint, points: np.ndarray) -> np.ndarray:
    dx, dz = points[:, 0] - footprint.x, points[:, 1] - footprint.z
    ahead = np.array([np.sin(footprint.yaw), np.cos(footprint.yaw)])
    along = dx * ahead[0] + dz * ahead[1]
    aside = dx * ahead[1] - dz * ahead[0]
    return (np.abs(along) <= footprint.half_z) & (np.abs(aside) <= footprint.half_x)


def test_footprints_overlap_where_they_share_points():
    rng = np.random.default_rng(0)
    outcomes = []
    for _ in range(150):
        a, b = (
            Footprint(*rng.uniform(-1.2, 1.2, 2), *rng.uniform(0.2, 1.0, 2), rng.uniform(-np.pi, np.pi))
            for _ in range(2)
        )
        share_points = contains(b, grid_of(a)).any() or contains(a, grid_of(b)).any()
        outcomes.append(a.overlaps(b))
        assert a.overlaps(b) == b.overlaps(a)
        if share_points:
            assert a.overlaps(b)
        if a.overlaps(b):  # if slightly enlarged, they share grid points
            larger = Footprint(b.x, b.z, b.half_x + 0.1, b.half_z + 0.1, b.yaw)
            assert contains(larger, grid_of(a)).any()
    assert 30 < sum(outcomes) < 120


def test_space_is_claimed_once_and_only_inside():
    plan = FloorPlan.rectangle(4.0, 6.0, 2.5, cut=(1.5, 2.0))
    assert plan.claim(Footprint(0, 0, 0.5, 0.5))
    assert not plan.claim(Footprint(0.9, 0, 0.5, 0.5))
    assert not plan.is_free(Footprint(0, -1.05, 0.5, 0.5))  # too close: neighbors are 6 cm apart
    assert plan.is_free(Footprint(0, -1.07, 0.5, 0.5))
    assert plan.claim(Footprint(0.9, 0, 0.5, 0.5), overhead=True)
    assert not plan.is_free(Footprint(1.8, 0, 0.5, 0.2))  # reaches through the wall
    assert not plan.is_free(Footprint(1.5, 2.5, 0.2, 0.2))  # in the missing corner
    assert plan.is_free(Footprint(-1.5, 2.5, 0.2, 0.2))
    assert plan.claim_wall(0, 0.0, 1.0, 0.9, 2.0)
    assert not plan.claim_wall(0, 0.9, 1.0, 1.5, 2.2)
    assert plan.claim_wall(0, 0.9, 1.0, 0.0, 0.9)
    assert not plan.claim_wall(0, 1.6, 1.0, 0.0, 0.5)  # longer than the wall


def test_places_at_walls_face_the_room():
    plan = FloorPlan.rectangle(4.0, 6.0, 2.5, cut=(1.5, 2.0))
    for wall in range(len(plan.walls)):
        on_wall, front = plan.at_wall(wall, 0.2), plan.at_wall(wall, 0.2, 0.3)
        ahead = on_wall.at(0, 0.3)
        assert np.allclose((ahead.x, ahead.z), (front.x, front.z))
        assert plan.is_free(Footprint(front.x, front.z, 0.2, 0.2))
        behind = on_wall.at(0, -0.3)
        assert not plan.is_free(Footprint(behind.x, behind.z, 0.2, 0.2))


@pytest.mark.parametrize("seed", range(25))
def test_random_room_is_plausible(seed):
    room = random_room(np.random.default_rng(seed))
    corners = np.array(room.corners)
    size = np.ptp(corners, axis=0)
    assert (size >= 3).all()
    assert (size <= 8).all()
    assert 2.4 <= room.ceiling <= 3.6
    solids = SolidTable.of([part.solid for part in room.parts])
    assert solids.low.min() >= 0
    assert solids.high.max() <= room.ceiling + 1e-9
    assert (np.abs(np.stack([solids.x, solids.z], 1)) <= size / 2).all()

    camera = room.camera
    assert 1.2 <= camera.height <= 1.8
    assert not solids.contains(camera.x, camera.z, camera.height).any()
    # Nothing is within 0.2 m of it, either.
    for angle in np.linspace(0, 2 * np.pi, 12):
        x, z = camera.x + 0.2 * np.sin(angle), camera.z + 0.2 * np.cos(angle)
        assert not solids.contains(x, z, camera.height).any()
        assert (np.abs([x, z]) < size / 2).all()


@pytest.mark.parametrize("seed", range(12))
def test_large_objects_do_not_intersect(seed):
    room = random_room(np.random.default_rng(seed))
    labels = np.array([part.label for part in room.parts])
    solids = SolidTable.of([part.solid for part in room.parts])
    large = {"sofa", "bookcase", "column", "table", "door"}
    for part in room.parts:
        if part.label in large:
            center = part.solid.x, part.solid.z, (part.solid.low + part.solid.high) / 2
            around = set(labels[solids.contains(*center)])
            assert around == {part.label}
