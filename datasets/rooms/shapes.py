"""The solids that rooms consist of: upright boxes and cylinders, spheres, and the room's shell.

All have the same parameters, so that thousands of rays and hundreds of solids need only a few array operations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Kind(IntEnum):
    """Kind of a solid."""

    BOX = 0
    CYLINDER = 1
    SPHERE = 2
    FLOOR = 3
    CEILING = 4
    WALL = 5


class Face(IntEnum):
    """The face of a solid, in its local axes: RIGHT +x, LEFT -x, FRONT +z, BACK -z; CURVED faces have no axis."""

    RIGHT = 0
    LEFT = 1
    FRONT = 2
    BACK = 3
    TOP = 4
    BOTTOM = 5
    CURVED = 6


@dataclass(frozen=True)
class Solid:
    """One solid, in meters and radians: a footprint on the floor plan and a range of heights above the floor.

    Attributes:
        kind: its shape; cylinders and spheres have half_x = half_z = radius.
        x, z: center of the footprint.
        half_x, half_z: half sizes along the local axes.
        low, high: range of heights above the floor.
        yaw: longitude that the front (local +z) faces.
    """

    kind: Kind
    x: float
    z: float
    half_x: float
    half_z: float
    low: float
    high: float
    yaw: float = 0.0


def box(x: float, z: float, size_x: float, size_z: float, low: float, high: float, yaw: float = 0.0) -> Solid:
    """A box rotated about the vertical; sizes are full widths in meters."""
    return Solid(Kind.BOX, x, z, size_x / 2, size_z / 2, low, high, yaw)


def cylinder(x: float, z: float, radius: float, low: float, high: float) -> Solid:
    """A vertical cylinder with caps."""
    return Solid(Kind.CYLINDER, x, z, radius, radius, low, high)


def sphere(x: float, z: float, height: float, radius: float) -> Solid:
    """A sphere whose center is `height` meters above the floor."""
    return Solid(Kind.SPHERE, x, z, radius, radius, height - radius, height + radius)


def shell(corners: Sequence[tuple[float, float]], ceiling: float) -> list[Solid]:
    """Floor, ceiling and one wall for each side of the floor plan, in this order.

    Args:
        corners: (x, z) of the room's corners in meters, counterclockwise on paper (x to the right, z upward). Wall i
            runs from corner i to the next one along its local x axis; its front faces the room.
        ceiling: height of the room in meters.
    """
    xs, zs = np.array(corners).T
    middle = (xs.min() + xs.max()) / 2, (zs.min() + zs.max()) / 2
    half = (xs.max() - xs.min()) / 2, (zs.max() - zs.min()) / 2
    solids = [Solid(Kind.FLOOR, *middle, *half, 0.0, 0.0), Solid(Kind.CEILING, *middle, *half, ceiling, ceiling)]
    for (x0, z0), (x1, z1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        yaw = float(np.arctan2(z0 - z1, x1 - x0))
        length = float(np.hypot(x1 - x0, z1 - z0))
        solids.append(Solid(Kind.WALL, (x0 + x1) / 2, (z0 + z1) / 2, length / 2, 0.0, 0.0, ceiling, yaw))
    return solids


@dataclass(frozen=True)
class SolidTable:
    """The parameters of P solids as arrays of shape (P,), named as in `Solid`; the shell's solids come first."""

    kind: np.ndarray
    x: np.ndarray
    z: np.ndarray
    half_x: np.ndarray
    half_z: np.ndarray
    low: np.ndarray
    high: np.ndarray
    yaw: np.ndarray

    @staticmethod
    def of(solids: Sequence[Solid]) -> "SolidTable":
        """The table of these solids, in the same order."""
        columns = np.array([(s.kind, s.x, s.z, s.half_x, s.half_z, s.low, s.high, s.yaw) for s in solids]).T
        return SolidTable(columns[0].astype(int), *columns[1:])

    def to_local(self, index: np.ndarray, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Floor plan positions x, z (meters, world) in the local axes of the solids with indices `index`."""
        cos, sin = np.cos(self.yaw)[index], np.sin(self.yaw)[index]
        dx, dz = x - self.x[index], z - self.z[index]
        return dx * cos - dz * sin, dx * sin + dz * cos

    def contains(self, x: float, z: float, height: float) -> np.ndarray:
        """Which boxes, cylinders and spheres contain this point (meters, world), (P,) bool."""
        local_x, local_z = self.to_local(np.arange(len(self.x)), x, z)
        level = (height >= self.low) & (height <= self.high)
        in_box = (np.abs(local_x) <= self.half_x) & (np.abs(local_z) <= self.half_z) & level
        in_circle = (np.hypot(local_x, local_z) <= self.half_x) & level
        in_sphere = np.hypot(np.hypot(local_x, local_z), height - (self.low + self.high) / 2) <= self.half_x
        kinds = [self.kind == Kind.BOX, self.kind == Kind.CYLINDER, self.kind == Kind.SPHERE]
        return np.select(kinds, [in_box, in_circle, in_sphere], default=False)
