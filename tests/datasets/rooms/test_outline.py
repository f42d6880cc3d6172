"""Floor plans of joined rectangles, checked by their areas and distances."""

import numpy as np
import pytest

from datasets.rooms.outline import Opening, Rectangle, join_room, outline, outside


def random_floor(seed: int) -> tuple[list[Rectangle], list[Opening]]:
    rng = np.random.default_rng(seed)
    rooms, openings = [Rectangle(-2.0, -3.0, 2.0, 3.0)], []
    for _ in range(5):
        join_room(rooms, openings, tuple(rng.uniform(1.5, 6.0, 2)), 2.7, rng)
    return rooms, openings


def area(rectangles: list[Rectangle]) -> float:
    return sum((r.x1 - r.x0) * (r.z1 - r.z0) for r in rectangles)


@pytest.mark.parametrize("seed", range(40))
def test_outline_encloses_all_rectangles(seed):
    """Gauss's area formula, positive for counterclockwise corners, and the footprints outside give the same area."""
    rooms, openings = random_floor(seed)
    pieces = [*rooms, *(opening.floor for opening in openings)]
    x, z = np.array(outline(pieces)).T
    assert (x * np.roll(z, -1) - z * np.roll(x, -1)).sum() / 2 == pytest.approx(area(pieces))
    missing = sum(4 * footprint.half_x * footprint.half_z for footprint in outside(pieces))
    assert np.ptp(x) * np.ptp(z) - missing == pytest.approx(area(pieces))
    assert ((np.roll(x, -1) == x) ^ (np.roll(z, -1) == z)).all(), "every side is parallel to an axis"


@pytest.mark.parametrize("seed", range(40))
def test_rooms_are_joined_only_by_openings(seed):
    rooms, openings = random_floor(seed)
    assert len(rooms) == len(openings) + 1
    for i, room in enumerate(rooms):
        assert not any(room.is_near(other, 0.08) for other in rooms[:i])
    for i, opening in enumerate(openings):
        assert sum(room.is_near(opening.floor, 1e-9) for room in rooms) == 2
        assert sum(room.is_near(opening.floor, 0.08) for room in rooms) == 2
        assert not any(opening.floor.is_near(other.floor, 0.08) for other in openings[:i])
        assert 1.95 <= opening.high <= 2.7


def test_openings_have_both_kinds_and_directions():
    openings = [opening for seed in range(20) for opening in random_floor(seed)[1]]
    assert len(openings) > 40
    assert {(o.along_x, o.is_door) for o in openings} == {(a, b) for a in (True, False) for b in (True, False)}


def test_room_without_space_is_not_added():
    rooms, openings = [Rectangle(0.0, 0.0, 0.9, 0.9)], []
    join_room(rooms, openings, (3.0, 3.0), 2.5, np.random.default_rng(0))
    assert (len(rooms), openings) == (1, [])
