"""Floor plans of several rectangular rooms, joined by doorways and wide openings."""

from dataclasses import dataclass

import numpy as np

from datasets.rooms.floor_plan import Footprint

_MIN_WALL = 0.08  # meters between rooms that are not joined
_TRIES = 12


@dataclass(frozen=True)
class Rectangle:
    """A part of the floor from x0 to x1 and z0 to z1, in meters."""

    x0: float
    z0: float
    x1: float
    z1: float

    def is_near(self, other: "Rectangle", distance: float) -> bool:
        """Whether two rectangles overlap or are less than `distance` meters apart."""
        apart_x = max(self.x0 - other.x1, other.x0 - self.x1)
        apart_z = max(self.z0 - other.z1, other.z0 - self.z1)
        return max(apart_x, apart_z) < distance

    def contains(self, x: float, z: float) -> bool:
        """Whether a point lies in the rectangle."""
        return self.x0 <= x <= self.x1 and self.z0 <= z <= self.z1

    def footprint(self, margin: float = 0.0) -> Footprint:
        """The rectangle, grown by a margin on all sides."""
        half_x, half_z = (self.x1 - self.x0) / 2, (self.z1 - self.z0) / 2
        return Footprint(self.x0 + half_x, self.z0 + half_z, half_x + margin, half_z + margin)

    def moved(self, x: float, z: float) -> "Rectangle":
        """The rectangle shifted by (x, z)."""
        return Rectangle(self.x0 + x, self.z0 + z, self.x1 + x, self.z1 + z)

    def transposed(self) -> "Rectangle":
        """The rectangle with x and z exchanged."""
        return Rectangle(self.z0, self.x0, self.z1, self.x1)


@dataclass(frozen=True)
class Opening:
    """A passage through the wall between two rooms.

    Attributes:
        floor: the floor inside the wall.
        along_x: whether it leads along x; otherwise along z.
        high: height in meters.
        is_door: whether it is as wide as a door; otherwise it is wider.
    """

    floor: Rectangle
    along_x: bool
    high: float
    is_door: bool


def join_room(
    rooms: list[Rectangle], openings: list[Opening], size: tuple[float, float], ceiling: float, rng: np.random.Generator
) -> None:
    """Add a room and the opening that joins it to one of `rooms`; without space, both lists stay unchanged.

    Args:
        size: meters along and across the direction in which the opening leads.
    """
    taken = [*rooms, *(opening.floor for opening in openings)]
    for _ in range(_TRIES):
        base = rooms[rng.integers(len(rooms))]
        along_x, forward = rng.random() < 0.5, rng.random() < 0.5
        # Computed as if the opening led toward +x, then mirrored and transposed.
        turned = base if along_x else base.transposed()
        begin = turned.x1 if forward else -turned.x0
        is_door = rng.random() < 0.65
        width = rng.uniform(0.75, 1.0) if is_door else rng.uniform(1.1, 3.0)
        length, span = size
        if min(span, turned.z1 - turned.z0) < width + 0.3:
            continue
        wall = rng.uniform(0.1, 0.25)
        low = rng.uniform(turned.z0 + 0.1, turned.z1 - 0.1 - width)
        start = rng.uniform(low + width + 0.1 - span, low - 0.1)
        pair = [
            Rectangle(begin, low, begin + wall, low + width),
            Rectangle(begin + wall, start, begin + wall + length, start + span),
        ]
        if not forward:
            pair = [Rectangle(-r.x1, r.z0, -r.x0, r.z1) for r in pair]
        floor, room = pair if along_x else [r.transposed() for r in pair]
        others = [other for other in taken if other != base]
        if any(room.is_near(other, _MIN_WALL) for other in taken):
            continue
        if any(floor.is_near(other, _MIN_WALL) for other in others):
            continue
        high = rng.uniform(1.95, 2.15) if is_door else rng.uniform(2.05, ceiling + 0.3)
        rooms.append(room)
        openings.append(Opening(floor, along_x, min(high, ceiling), is_door))
        return


def outline(rectangles: list[Rectangle]) -> tuple[tuple[float, float], ...]:
    """Corners (x, z) of the union of touching rectangles, which must have no holes, in the order of `shapes.shell`."""
    xs, zs, inside = _grid(rectangles)
    successor = {}
    for i, j in zip(*np.nonzero(inside[1:-1, 1:-1]), strict=True):
        x0, x1, z0, z1 = xs[i], xs[i + 1], zs[j], zs[j + 1]
        sides = ((0, -1, x0, z0, x1, z0), (1, 0, x1, z0, x1, z1), (0, 1, x1, z1, x0, z1), (-1, 0, x0, z1, x0, z0))
        for di, dj, xa, za, xb, zb in sides:
            if not inside[i + 1 + di, j + 1 + dj]:
                successor[xa, za] = (xb, zb)
    corner = next(iter(successor))
    corners = []
    for _ in successor:
        corners.append(corner)
        corner = successor[corner]
    neighbors = zip(corners[-1:] + corners[:-1], corners, corners[1:] + corners[:1], strict=True)
    return tuple(b for a, b, c in neighbors if not (a[0] == b[0] == c[0] or a[1] == b[1] == c[1]))


def outside(rectangles: list[Rectangle]) -> list[Footprint]:
    """Footprints that cover the rest of the bounding rectangle."""
    xs, zs, inside = _grid(rectangles)
    pieces = []
    for j in range(len(zs) - 1):
        row = inside[1:-1, j + 1]
        begin = 0
        while begin < len(row):
            end = begin
            while end < len(row) and not row[end]:
                end += 1
            if end > begin:
                pieces.append(Rectangle(xs[begin], zs[j], xs[end], zs[j + 1]).footprint())
            begin = end + 1
    return pieces


def _grid(rectangles: list[Rectangle]) -> tuple[list[float], list[float], np.ndarray]:
    """Coordinates of all sides, and a mask of the cells between them that are inside, padded by one cell."""
    xs = sorted({x for r in rectangles for x in (r.x0, r.x1)})
    zs = sorted({z for r in rectangles for z in (r.z0, r.z1)})
    inside = np.zeros((len(xs) + 1, len(zs) + 1), bool)
    for r in rectangles:
        inside[xs.index(r.x0) + 1 : xs.index(r.x1) + 1, zs.index(r.z0) + 1 : zs.index(r.z1) + 1] = True
    return xs, zs, inside
