"""Free space on the floor, walls and ceiling while a room is furnished."""

from dataclasses import dataclass, replace
from math import cos, hypot, sin

from datasets.rooms.shapes import Kind, Solid, box, cylinder, shell, sphere

_SPACE = 0.06  # meters between neighbors


@dataclass(frozen=True)
class Place:
    """A position and a direction on the floor plan: the local axes in which objects are built.

    Attributes:
        x, z: meters, world.
        yaw: longitude of local +z.
        base: height in meters from which the heights of these objects are measured.
    """

    x: float
    z: float
    yaw: float
    base: float = 0.0

    def at(self, x: float, z: float, turn: float = 0.0, up: float = 0.0) -> "Place":
        """The place at (x, z) in the axes of this one, turned by `turn` radians and `up` meters higher."""
        world_x = self.x + x * cos(self.yaw) + z * sin(self.yaw)
        world_z = self.z - x * sin(self.yaw) + z * cos(self.yaw)
        return Place(world_x, world_z, self.yaw + turn, self.base + up)

    def box(self, x: float, z: float, size_x: float, size_z: float, low: float, high: float, turn: float = 0) -> Solid:
        """A box in the axes of this place; sizes are full widths."""
        there = self.at(x, z, turn)
        return box(there.x, there.z, size_x, size_z, self.base + low, self.base + high, there.yaw)

    def cylinder(self, x: float, z: float, radius: float, low: float, high: float) -> Solid:
        """A vertical cylinder in the axes of this place."""
        there = self.at(x, z)
        return cylinder(there.x, there.z, radius, self.base + low, self.base + high)

    def sphere(self, x: float, z: float, height: float, radius: float) -> Solid:
        """A sphere in the axes of this place, with its center at `height`."""
        there = self.at(x, z)
        return sphere(there.x, there.z, self.base + height, radius)


@dataclass(frozen=True)
class Footprint:
    """A rotated rectangle on the floor plan, with half sizes in meters."""

    x: float
    z: float
    half_x: float
    half_z: float
    yaw: float = 0.0

    @staticmethod
    def around(place: Place, size_x: float, size_z: float) -> "Footprint":
        """The footprint of an object of this full size, centered at `place`."""
        return Footprint(place.x, place.z, size_x / 2, size_z / 2, place.yaw)

    def overlaps(self, other: "Footprint") -> bool:
        """Whether the rectangles intersect, by the separating axis theorem."""
        dx, dz = other.x - self.x, other.z - self.z
        if hypot(dx, dz) > hypot(self.half_x, self.half_z) + hypot(other.half_x, other.half_z):
            return False
        c, s = abs(cos(self.yaw - other.yaw)), abs(sin(self.yaw - other.yaw))
        for a, b in ((self, other), (other, self)):
            along_x = abs(dx * cos(a.yaw) - dz * sin(a.yaw))
            along_z = abs(dx * sin(a.yaw) + dz * cos(a.yaw))
            if along_x > a.half_x + b.half_x * c + b.half_z * s or along_z > a.half_z + b.half_x * s + b.half_z * c:
                return False
        return True

    def reach(self) -> tuple[float, float]:
        """Half sizes of the bounding rectangle along the world's x and z axes."""
        c, s = abs(cos(self.yaw)), abs(sin(self.yaw))
        return self.half_x * c + self.half_z * s, self.half_x * s + self.half_z * c


class FloorPlan:
    """The free space of a room; objects claim their space before they are placed.

    Args:
        corners: outline, see `shapes.shell`; its bounding rectangle is centered at the origin.
        ceiling: height of the room in meters.
        missing: the parts of the bounding rectangle outside of the outline.
    """

    def __init__(self, corners: tuple[tuple[float, float], ...], ceiling: float, missing: list[Footprint]):
        self.half_x, self.half_z = (max(values) for values in zip(*corners, strict=True))
        self.corners, self.ceiling = corners, ceiling
        self._floor, self._overhead = list(missing), list(missing)
        self.walls = [solid for solid in shell(corners, ceiling) if solid.kind == Kind.WALL]
        self._on_walls: list[list[tuple[float, float, float, float]]] = [[] for _ in self.walls]

    @classmethod
    def rectangle(
        cls, width: float, length: float, ceiling: float, cut: tuple[float, float] | None = None
    ) -> "FloorPlan":
        """A rectangular or L-shaped room.

        Args:
            width, length: size of the room in meters along x and z.
            ceiling: height in meters.
            cut: size (x, z) in meters of the missing corner at +x, +z; None: no corner is missing.
        """
        x, z = width / 2, length / 2
        if cut is None:
            return cls(((-x, -z), (x, -z), (x, z), (-x, z)), ceiling, [])
        inner_x, inner_z = x - cut[0], z - cut[1]
        missing = Footprint(x - cut[0] / 2, z - cut[1] / 2, cut[0] / 2, cut[1] / 2)
        corners = ((-x, -z), (x, -z), (x, inner_z), (inner_x, inner_z), (inner_x, z), (-x, z))
        return cls(corners, ceiling, [missing])

    def is_free(self, footprint: Footprint, overhead: bool = False) -> bool:
        """Whether the footprint is in the room and overlaps nothing on the floor (with `overhead`: on the ceiling)."""
        reach_x, reach_z = footprint.reach()
        if abs(footprint.x) + reach_x > self.half_x or abs(footprint.z) + reach_z > self.half_z:
            return False
        return not any(footprint.overlaps(taken) for taken in (self._overhead if overhead else self._floor))

    def claim(self, footprint: Footprint, overhead: bool = False) -> bool:
        """Claim the footprint and a small margin if it is free; returns whether it was."""
        free = self.is_free(footprint, overhead)
        if free:
            grown = replace(footprint, half_x=footprint.half_x + _SPACE, half_z=footprint.half_z + _SPACE)
            (self._overhead if overhead else self._floor).append(grown)
        return free

    def block_overhead(self, footprint: Footprint) -> None:
        """Claim a part of the ceiling whether it is free or not."""
        self._overhead.append(footprint)

    def at_wall(self, wall: int, along: float, distance: float = 0.0) -> Place:
        """The place `along` meters from the center of a wall and `distance` in front of it, facing the room."""
        solid = self.walls[wall]
        return Place(solid.x, solid.z, solid.yaw).at(along, distance)

    def is_wall_free(self, wall: int, along: float, size: float, low: float, high: float) -> bool:
        """Whether a rectangle of the wall is free: `size` meters around `along`, from height `low` to `high`."""
        begin, end = along - size / 2, along + size / 2
        if max(-begin, end) > self.walls[wall].half_x or high > self.ceiling:
            return False
        return all(end <= b or begin >= e or high <= lo or low >= hi for b, e, lo, hi in self._on_walls[wall])

    def claim_wall(self, wall: int, along: float, size: float, low: float, high: float) -> bool:
        """Claim a rectangle of the wall if it is free; returns whether it was."""
        free = self.is_wall_free(wall, along, size, low, high)
        if free:
            self._on_walls[wall].append((along - size / 2, along + size / 2, low, high))
        return free
