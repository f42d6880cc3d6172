"""Generates a furnished room: size, use, furniture, lights and camera."""

from dataclasses import dataclass

import numpy as np

from datasets.rooms import fitting_out
from datasets.rooms.casting import Camera
from datasets.rooms.floor_plan import FloorPlan, Footprint
from datasets.rooms.furnishing import Furnisher
from datasets.rooms.scene import Light, Part, Room
from datasets.rooms.style import Style, random_style

_CAMERA_SPACE = 0.9  # meters, width of the free square around the camera


@dataclass(frozen=True)
class _Use:
    """A kind of room: probabilities of office chairs and boards, and maximum numbers of objects."""

    office_chairs: float
    boards: float
    sofas: int
    tables: int
    desks: int
    bookcases: int
    chairs: int
    pictures: int


_USES = (
    _Use(office_chairs=0.1, boards=0.1, sofas=4, tables=1, desks=1, bookcases=2, chairs=2, pictures=6),  # living room
    _Use(office_chairs=0.9, boards=0.6, sofas=1, tables=1, desks=7, bookcases=3, chairs=2, pictures=3),  # office
    _Use(office_chairs=0.5, boards=0.9, sofas=1, tables=4, desks=0, bookcases=2, chairs=6, pictures=3),  # meeting room
    _Use(office_chairs=0.4, boards=0.3, sofas=2, tables=2, desks=1, bookcases=6, chairs=3, pictures=3),  # library
)


def random_room(rng: np.random.Generator) -> Room:
    """A furnished room, determined by the state of the generator."""
    plan = _random_plan(rng)
    style = random_style(rng)
    camera = _place_camera(plan, rng)
    use = _USES[rng.integers(len(_USES))]
    parts, lights = _fit_out(plan, use, style, rng)
    furnishings, lamp_lights = _furnish(plan, use, style, rng)
    pictures = fitting_out.put_pictures(plan, int(rng.integers(use.pictures + 1)), style, rng)
    walls = [style.walls] * len(plan.walls)
    walls[rng.integers(len(walls))] = style.other_wall
    ambient = rng.uniform(0.12, 0.32)
    return Room(
        corners=plan.corners,
        ceiling=plan.ceiling,
        floor_material=style.floor,
        ceiling_material=style.ceiling,
        wall_materials=tuple(walls),
        parts=(*parts, *furnishings, *pictures),
        lights=(*lights, *lamp_lights),
        ambient=(ambient, ambient * 0.98, ambient * 0.94),
        camera=camera,
        exposure=rng.uniform(0.7, 1.35),
        noise=rng.uniform(0.003, 0.012),
        seed=int(rng.integers(2**31)),
    )


def _random_plan(rng: np.random.Generator) -> FloorPlan:
    width, length = rng.uniform(3.2, 8.0, 2)
    ceiling = rng.uniform(2.4, 3.6)
    cut = None
    if min(width, length) > 4.5 and rng.random() < 0.4:
        cut = (width * rng.uniform(0.3, 0.5), length * rng.uniform(0.3, 0.5))
    return FloorPlan.rectangle(width, length, ceiling, cut)


def _place_camera(plan: FloorPlan, rng: np.random.Generator) -> Camera:
    """A camera in the inner part of the room, with free space around it."""
    while True:
        x, z = rng.uniform(-0.6, 0.6, 2) * (plan.half_x, plan.half_z)
        if plan.claim(Footprint(x, z, _CAMERA_SPACE / 2, _CAMERA_SPACE / 2)):
            return Camera(x, z, rng.uniform(1.2, 1.8), rng.uniform(-np.pi, np.pi))


def _fit_out(plan: FloorPlan, use: _Use, style: Style, rng: np.random.Generator) -> tuple[list[Part], list[Light]]:
    parts = fitting_out.put_doors(plan, int(rng.integers(1, 3)), style, rng)
    windows, daylight = fitting_out.put_windows(plan, int(rng.integers(4)), style, rng)
    boards = fitting_out.put_boards(plan, int(rng.random() < use.boards) + int(rng.random() < 0.1), style, rng)
    beams = fitting_out.put_beams(plan, int(rng.integers(1, 5)), style, rng) if rng.random() < 0.45 else []
    lamps, lamplight = fitting_out.put_ceiling_lamps(plan, style, rng)
    columns = fitting_out.put_columns(plan, int(rng.integers(1, 4)), style, rng) if rng.random() < 0.4 else []
    return [*parts, *windows, *boards, *beams, *lamps, *columns], [*daylight, *lamplight]


def _furnish(plan: FloorPlan, use: _Use, style: Style, rng: np.random.Generator) -> tuple[list[Part], list[Light]]:
    """Furnish the room, large pieces first."""
    furnisher = Furnisher(plan, style, rng, office_chairs=rng.random() < use.office_chairs)

    def up_to(maximum: int) -> int:
        return int(rng.integers((maximum + 1) // 2, maximum + 1))

    parts = furnisher.sofas(up_to(use.sofas))
    parts += furnisher.tables(up_to(use.tables))
    parts += furnisher.desks(up_to(use.desks))
    parts += furnisher.bookcases(up_to(use.bookcases))
    parts += furnisher.chairs(up_to(use.chairs))
    lamps, lights = furnisher.floor_lamps(int(rng.random() < 0.35))
    return [*parts, *lamps, *furnisher.floor_clutter(int(rng.integers(2, 8)))], lights
