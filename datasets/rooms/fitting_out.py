"""Places the fittings of a room: on free parts of walls (doors, windows, boards, ...), beams, columns and lamps."""

import numpy as np

from datasets.rooms import fittings, household
from datasets.rooms.floor_plan import FloorPlan, Footprint, Place
from datasets.rooms.scene import Light, Part
from datasets.rooms.shapes import box
from datasets.rooms.style import Style

_TRIES = 20
_MAX_SOURCES = 2  # lamps that are light sources
_BEAM_CLEARANCE = 2.2  # meters to keep free below beams


def put_doors(plan: FloorPlan, count: int, style: Style, rng: np.random.Generator) -> list[Part]:
    """Up to `count` doors, with free floor in front of them."""
    parts: list[Part] = []
    for _ in range(count):
        width = rng.uniform(1.5, 1.9) if rng.random() < 0.2 else rng.uniform(0.98, 1.15)
        spot = _free_wall(plan, width + 0.1, 0.0, fittings.DOOR_HEIGHT + 0.1, rng, clear=0.8)
        if spot:
            parts += fittings.door(plan.at_wall(*spot), width, style)
    return parts


def put_windows(
    plan: FloorPlan, count: int, style: Style, rng: np.random.Generator, curtains: bool = False
) -> tuple[list[Part], list[Light]]:
    """Up to `count` windows at the same height, sometimes with radiators or `curtains`, and their daylight."""
    parts: list[Part] = []
    lights: list[Light] = []
    low, high = rng.uniform(0.75, 1.05), min(plan.ceiling - 0.2, rng.uniform(1.95, 2.4))
    heated = rng.random() < 0.5
    daylight = rng.uniform(0.8, 1.8) * np.array([0.85, 0.95, 1.1])
    for _ in range(count):
        width = rng.uniform(0.8, 2.2)
        spot = _free_wall(plan, width + 0.14, low - 0.06, high + 0.02, rng)
        if spot is None:
            continue
        place = plan.at_wall(*spot)
        parts += fittings.window(place, width, low, high, style)
        below = Footprint.around(plan.at_wall(*spot, distance=0.1), width * 0.8, 0.18)
        if curtains and rng.random() < 0.6:
            hem = 0.03 if rng.random() < 0.6 else low - 0.1
            parts += household.curtains(place, width, hem, min(high + 0.15, plan.ceiling), style, rng)
        if heated and plan.claim_wall(*spot, width * 0.8, 0.0, low - 0.06) and plan.claim(below):
            parts += fittings.radiator(place, width * 0.8, style)
        front = place.at(0, 0.3)
        color = tuple((daylight * width * (high - low)).tolist())
        lights.append(Light(front.x, front.z, (low + high) / 2, color, place.yaw, shadows=not lights))
    return parts, lights


def put_boards(plan: FloorPlan, count: int, style: Style, rng: np.random.Generator) -> list[Part]:
    """Up to `count` whiteboards or blackboards."""
    parts: list[Part] = []
    for _ in range(count):
        width, low = rng.uniform(1.2, 2.8), rng.uniform(0.8, 0.95)
        high = low + rng.uniform(0.9, 1.2)
        spot = _free_wall(plan, width + 0.1, low, high, rng)
        if spot:
            parts += fittings.board(plan.at_wall(*spot), width, low, high, style)
    return parts


def put_pictures(plan: FloorPlan, count: int, style: Style, rng: np.random.Generator) -> list[Part]:
    """Up to `count` framed pictures at eye level."""
    parts: list[Part] = []
    for _ in range(count):
        width, size = rng.uniform(0.35, 1.1), rng.uniform(0.35, 0.8)
        low = 1.6 - size / 2
        spot = _free_wall(plan, width + 0.1, low, low + size, rng)
        if spot:
            parts += fittings.picture(plan.at_wall(*spot), width, low, low + size, style, rng)
    return parts


def put_shelves(plan: FloorPlan, count: int, style: Style, rng: np.random.Generator) -> list[Part]:
    """Up to `count` wall shelves of one to three boards, with objects on them."""
    parts: list[Part] = []
    for _ in range(count):
        width, low, boards = rng.uniform(0.6, 3.0), rng.uniform(1.1, 1.6), int(rng.integers(1, 4))
        high = min(low + 0.4 * boards, plan.ceiling)
        spot = _free_wall(plan, width, low - 0.1, high, rng)
        if spot:
            for i in range(int((high - low) / 0.4 + 1e-6)):
                parts += household.wall_shelf(plan.at_wall(*spot), width, low + 0.4 * i, style, rng)
    return parts


def put_beams(plan: FloorPlan, count: int, style: Style, rng: np.random.Generator) -> list[Part]:
    """Up to `count` parallel beams, evenly spaced, across the shorter side of the room."""
    wide = rng.uniform(0.14, 0.32)
    low = plan.ceiling - min(rng.uniform(0.14, 0.34), plan.ceiling - _BEAM_CLEARANCE)
    parts: list[Part] = []
    count = min(count, int(max(plan.half_x, plan.half_z) / 0.7) - 1)  # lamps must fit between them
    for i in range(count):
        fraction = 2 * (i + 1) / (count + 1) - 1
        if plan.half_x < plan.half_z:
            x, z, size_x, size_z = 0.0, fraction * plan.half_z, 2 * plan.half_x, wide
        else:
            x, z, size_x, size_z = fraction * plan.half_x, 0.0, wide, 2 * plan.half_z
        plan.block_overhead(Footprint(x, z, size_x / 2, size_z / 2))
        parts.append(Part(box(x, z, size_x, size_z, low, plan.ceiling), "beam", style.beam))
    return parts


def put_columns(plan: FloorPlan, count: int, style: Style, rng: np.random.Generator) -> list[Part]:
    """Up to `count` equal columns where floor and ceiling are free."""
    size, is_round = rng.uniform(0.22, 0.45), rng.random() < 0.5
    parts: list[Part] = []
    for _ in range(count * _TRIES):
        x, z = rng.uniform(-1, 1, 2) * (plan.half_x - 0.35, plan.half_z - 0.35)
        footprint = Footprint(x, z, size / 2 + 0.06, size / 2 + 0.06)
        if plan.is_free(footprint, overhead=True) and plan.claim(footprint):
            parts += fittings.column(Place(x, z, 0.0), size, plan.ceiling, is_round, style)
            count -= 1
        if count == 0:
            break
    return parts


def put_ceiling_lamps(plan: FloorPlan, style: Style, rng: np.random.Generator) -> tuple[list[Part], list[Light]]:
    """A grid of lamps; a few of them are light sources, with the power of all."""
    columns = max(1, round(2 * plan.half_x / rng.uniform(2.5, 4.0)))
    rows = max(1, round(2 * plan.half_z / rng.uniform(2.5, 4.0)))
    kind = int(rng.integers(4 if plan.ceiling > 2.75 else 3))
    turn = rng.choice([0.0, np.pi / 2])
    places = []
    for i in range(columns):
        for j in range(rows):
            x = plan.half_x * ((2 * i + 1) / columns - 1)
            z = plan.half_z * ((2 * j + 1) / rows - 1)
            place = _aside(plan, Place(x, z, turn), (1.35, 0.25) if kind == 1 else (0.7, 0.7), rng)
            if place:
                places.append(place)
    parts = [part for place in places for part in fittings.ceiling_lamp(place, plan.ceiling, kind, style)]
    sources = [places[i] for i in rng.permutation(len(places))[:_MAX_SOURCES]]
    warmth = rng.uniform(0.0, 1.0)
    power = rng.uniform(1.2, 2.4) * 4 * plan.half_x * plan.half_z / 14 / max(len(sources), 1)
    color = (power, power * (1 - 0.12 * warmth), power * (1 - 0.34 * warmth))
    drop = 0.7 if kind == 3 else 0.45
    return parts, [Light(place.x, place.z, plan.ceiling - drop, color) for place in sources]


def _aside(plan: FloorPlan, place: Place, size: tuple[float, float], rng: np.random.Generator) -> Place | None:
    """The place, moved aside if it is not free overhead, where it is claimed; None without space."""
    for i in range(_TRIES):
        x, z = rng.uniform(-1, 1, 2) * (i / _TRIES)
        there = Place(place.x + x, place.z + z, place.yaw)
        if plan.claim(Footprint.around(there, *size), overhead=True):
            return there
    return None


def _free_wall(
    plan: FloorPlan, size: float, low: float, high: float, rng: np.random.Generator, clear: float = 0.0
) -> tuple[int, float] | None:
    """Claim a rectangle of a wall with `clear` meters of free floor in front: arguments of `plan.at_wall`, or None."""
    for _ in range(_TRIES):
        wall = int(rng.integers(len(plan.walls)))
        span = plan.walls[wall].half_x - size / 2 - 0.1
        if span < 0:
            continue
        along = rng.uniform(-span, span)
        if not plan.is_wall_free(wall, along, size, low, high):
            continue
        front = Footprint.around(plan.at_wall(wall, along, clear / 2 + 0.01), size, clear)
        if (clear == 0 or plan.claim(front)) and plan.claim_wall(wall, along, size, low, high):
            return wall, along
    return None
