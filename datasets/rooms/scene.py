"""Description of a room: shell, other parts, lights and camera."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datasets.rooms.casting import Camera
from datasets.rooms.shapes import Solid, shell
from datasets.rooms.surfaces import Patch

Color = tuple[float, float, float]  # linear RGB, 1 = white


@dataclass(frozen=True)
class Material:
    """The material of a surface.

    Attributes:
        texture: maps a `Patch` of N points and the material to linear colors (N, 3), see `textures`.
        color, second: first and second color of the texture.
        scale: period of the texture in meters.
        glow: emission, as a multiple of the color.
    """

    texture: Callable[[Patch, "Material"], np.ndarray]
    color: Color
    second: Color = (0.1, 0.1, 0.1)
    scale: float = 0.1
    glow: float = 0.0


@dataclass(frozen=True)
class Part:
    """One solid of a room with its class (a name of `STANFORD2D3D`) and its material."""

    solid: Solid
    label: str
    material: Material


@dataclass(frozen=True)
class Light:
    """A small light in the world (meters, height above the floor) that fades with the squared distance.

    Attributes:
        color: linear RGB, the irradiance at 1 m.
        yaw: longitude that the light faces, like a window; None: it shines in all directions.
        shadows: whether it casts shadows.
    """

    x: float
    z: float
    height: float
    color: Color
    yaw: float | None = None
    shadows: bool = True


@dataclass(frozen=True)
class Room:
    """A room to be rendered.

    Attributes:
        corners: (x, z) of the floor plan's corners in meters, see `shapes.shell`.
        ceiling: height in meters.
        floor_material, ceiling_material, wall_materials: materials of the shell, one for each wall.
        parts: everything but the shell.
        lights: light sources: lamps and windows.
        ambient: linear RGB of the ambient light.
        camera: position and heading.
        exposure: brightness relative to automatic exposure.
        noise: standard deviation of the sensor noise, as a fraction of the full 8-bit range.
        seed: seed of the sensor noise.
    """

    corners: tuple[tuple[float, float], ...]
    ceiling: float
    floor_material: Material
    ceiling_material: Material
    wall_materials: tuple[Material, ...]
    parts: tuple[Part, ...]
    lights: tuple[Light, ...]
    ambient: Color
    camera: Camera
    exposure: float = 1.0
    noise: float = 0.0
    seed: int = 0

    def all_parts(self) -> list[Part]:
        """Floor, ceiling, walls, then the other parts; `casting.RayHits.solid` are indices into this list."""
        floor, ceiling, *walls = shell(self.corners, self.ceiling)
        return [
            Part(floor, "floor", self.floor_material),
            Part(ceiling, "ceiling", self.ceiling_material),
            *(Part(wall, "wall", material) for wall, material in zip(walls, self.wall_materials, strict=True)),
            *self.parts,
        ]
