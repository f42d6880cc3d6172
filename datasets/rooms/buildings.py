"""Generates varied rooms: homes, corridors, halls and small rooms, with views into adjacent rooms.

`layout.random_room` generates single rooms of similar size. These are for networks that are to predict photographs:
several rooms joined by doorways and wide openings, some with lower ceilings, with more kinds of furniture and more
varied materials and lighting.
"""

from dataclasses import dataclass

import numpy as np

from datasets.rooms import fitting_out, fittings, household
from datasets.rooms.casting import Camera
from datasets.rooms.floor_plan import FloorPlan, Footprint, Place
from datasets.rooms.furnishing import Furnisher
from datasets.rooms.outline import Opening, Rectangle, join_room, outline, outside
from datasets.rooms.scene import Light, Material, Part, Room
from datasets.rooms.style import Style
from datasets.rooms.varied_style import other_paint, varied_style

_TRIES = 30
_CLEAR = 0.6  # meters without furniture on both sides of openings


@dataclass(frozen=True)
class _Kind:
    """A kind of building: ranges in meters for its main room, and the maximum number of other rooms."""

    probability: float
    shorter: tuple[float, float]
    longer: tuple[float, float]
    ceiling: tuple[float, float]
    neighbors: int


_KINDS = (
    _Kind(0.5, (2.4, 5.5), (3.0, 8.0), (2.3, 3.3), 4),  # homes and offices
    _Kind(0.22, (1.2, 2.8), (5.0, 22.0), (2.2, 3.3), 5),  # corridors
    _Kind(0.15, (5.0, 11.0), (7.0, 18.0), (2.7, 6.0), 3),  # halls
    _Kind(0.13, (1.5, 2.6), (1.8, 3.6), (2.2, 2.8), 2),  # bathrooms, closets, landings
)


@dataclass(frozen=True)
class _Floor:
    """The rooms of a floor, the main one first."""

    rooms: list[Rectangle]
    openings: list[Opening]
    ceiling: float
    ceilings: list[float]  # of each room, at most `ceiling`

    def area(self) -> float:
        """Square meters of all rooms."""
        return sum(4 * r.footprint().half_x * r.footprint().half_z for r in self.rooms)


def random_building(rng: np.random.Generator) -> Room:
    """A room with adjacent rooms, determined by the state of the generator."""
    floor = _random_floor(rng)
    pieces = [*floor.rooms, *(opening.floor for opening in floor.openings)]
    corners = outline(pieces)
    plan = FloorPlan(corners, floor.ceiling, outside(pieces))
    style = varied_style(rng)
    camera = _place_camera(plan, floor, rng)
    parts = [part for opening in floor.openings for part in _fit_opening(plan, opening, floor, style, rng)]
    parts += _lower_ceilings(plan, floor, style, rng)
    lamps, lights = _light(floor, style, rng)
    fitted, daylight = _fit_out(plan, floor, style, rng)
    parts += [*lamps, *fitted, *_furnish(plan, floor, style, rng)]
    ambient = np.exp(rng.uniform(-2.2, 0.0)) * (1 + rng.uniform(-0.08, 0.08, 3))
    return Room(
        corners=corners,
        ceiling=floor.ceiling,
        floor_material=style.floor,
        ceiling_material=style.ceiling,
        wall_materials=_paint_walls(plan, floor, style, rng),
        parts=tuple(parts),
        lights=(*lights, *daylight),
        ambient=tuple(ambient.tolist()),
        camera=camera,
        exposure=rng.uniform(0.7, 1.6),
        noise=rng.uniform(0.0, 0.01),
        seed=int(rng.integers(2**31)),
    )


def _random_floor(rng: np.random.Generator) -> _Floor:
    kind = _KINDS[rng.choice(len(_KINDS), p=[kind.probability for kind in _KINDS])]
    shorter, longer = (np.exp(rng.uniform(*np.log(sizes))) for sizes in (kind.shorter, kind.longer))
    size = (shorter, max(shorter, longer))
    size = size if rng.random() < 0.5 else size[::-1]
    ceiling = rng.uniform(*kind.ceiling)
    rooms, openings = [Rectangle(0.0, 0.0, *size)], []
    for _ in range(int(rng.integers(kind.neighbors + 1))):
        narrow = rng.random() < 0.3
        across = rng.uniform(1.2, 2.2) if narrow else np.exp(rng.uniform(0.6, 2.0))
        along = np.exp(rng.uniform(1.2, 2.5)) if narrow else np.exp(rng.uniform(0.6, 2.0))
        join_room(rooms, openings, (along, across) if rng.random() < 0.5 else (across, along), ceiling, rng)
    ceilings = [ceiling - (rng.uniform(0.15, 0.6) if rng.random() < 0.35 else 0.0) for _ in rooms]
    ceilings = [max(2.15, min(low, ceiling)) for low in ceilings]
    x = -(min(r.x0 for r in rooms) + max(r.x1 for r in rooms)) / 2
    z = -(min(r.z0 for r in rooms) + max(r.z1 for r in rooms)) / 2
    moved = [Opening(o.floor.moved(x, z), o.along_x, o.high, o.is_door) for o in openings]
    return _Floor([r.moved(x, z) for r in rooms], moved, ceiling, [ceiling, *ceilings[1:]])


def _place_camera(plan: FloorPlan, floor: _Floor, rng: np.random.Generator) -> Camera:
    """A camera in the main room, or sometimes in another one, with a little free space around it."""
    while True:
        room = floor.rooms[0 if rng.random() < 0.75 else rng.integers(len(floor.rooms))]
        x, z = (_inner(low, high, rng) for low, high in ((room.x0, room.x1), (room.z0, room.z1)))
        if plan.claim(Footprint(x, z, 0.3, 0.3)):
            height = float(np.clip(rng.normal(1.52, 0.16), 1.0, min(floor.ceilings) - 0.3))
            return Camera(x, z, height, rng.uniform(-np.pi, np.pi))


def _inner(low: float, high: float, rng: np.random.Generator) -> float:
    """A random coordinate between two walls, away from both if there is space."""
    inset = min(0.35 * (high - low), max(0.7, 0.2 * (high - low)))
    return rng.uniform(low + inset, high - inset)


def _fit_opening(
    plan: FloorPlan, opening: Opening, floor: _Floor, style: Style, rng: np.random.Generator
) -> list[Part]:
    """The wall above an opening; for doorways mostly a frame, sometimes with an open door. Claims the floor around."""
    area = opening.floor.footprint()
    half_x, half_z = (area.half_z, area.half_x) if opening.along_x else (area.half_x, area.half_z)
    place = Place(area.x, area.z, np.pi / 2 if opening.along_x else 0.0)  # local z leads through the opening
    plan.claim(Footprint(area.x, area.z, half_x, half_z + _CLEAR, place.yaw))
    parts: list[Part] = []
    if opening.high < floor.ceiling:
        parts.append(Part(place.box(0, 0, 2 * half_x, 2 * half_z, opening.high, floor.ceiling), "wall", style.walls))
    if not opening.is_door or rng.random() < 0.15:
        return parts
    bar, depth = rng.uniform(0.04, 0.1), 2 * half_z + rng.uniform(0.02, 0.06)
    for side in (-1, 1):
        parts.append(Part(place.box(side * (half_x - bar / 2), 0, bar, depth, 0, opening.high), "door", style.frame))
    parts.append(Part(place.box(0, 0, 2 * half_x, depth, opening.high - bar, opening.high), "door", style.frame))
    if rng.random() < 0.5:
        parts += _open_door(plan, place, half_x - bar, half_z, opening.high - bar, style, rng)
    return parts


def _open_door(
    plan: FloorPlan, place: Place, half_x: float, half_z: float, high: float, style: Style, rng: np.random.Generator
) -> list[Part]:
    """A leaf, hinged at one side of the opening and turned into one of the rooms, if there is space."""
    side, ahead = rng.choice([-1, 1], 2)
    angle = rng.uniform(0.9, 2.6)  # 0: closed
    hinge = place.at(side * half_x, ahead * half_z)
    leaf = hinge.at(0, 0, -side * ahead * angle)
    center = leaf.at(-side * half_x, 0)
    if not plan.is_free(Footprint(center.x, center.z, 0.8 * half_x, 0.03, center.yaw)):
        return []
    return [
        Part(leaf.box(-side * half_x, 0, 2 * half_x, 0.045, 0.01, high), "door", style.door),
        Part(leaf.box(-side * (2 * half_x - 0.09), 0, 0.12, 0.16, 1.02, 1.05), "door", style.metal),
    ]


def _lower_ceilings(plan: FloorPlan, floor: _Floor, style: Style, rng: np.random.Generator) -> list[Part]:
    """Lower ceilings and floors of another material in some of the rooms, and beams and ducts."""
    parts: list[Part] = []
    for room, low in zip(floor.rooms[1:], floor.ceilings[1:], strict=True):
        area = room.footprint()
        place = Place(area.x, area.z, 0.0)
        size = 2 * area.half_x, 2 * area.half_z
        if low < floor.ceiling:
            parts.append(Part(place.box(0, 0, *size, low, floor.ceiling), "ceiling", style.ceiling))
        if rng.random() < 0.4:
            parts.append(Part(place.box(0, 0, *size, 0, 0.003), "floor", varied_style(rng).floor))
    if rng.random() < 0.2:
        parts += fitting_out.put_beams(plan, int(rng.integers(1, 8)), style, rng)
    if rng.random() < 0.25:
        count = int(rng.integers(2, 16))
        parts += household.ducts(plan.half_x, plan.half_z, floor.ceiling, count, style, rng)
    return parts


def _light(floor: _Floor, style: Style, rng: np.random.Generator) -> tuple[list[Part], list[Light]]:
    """A grid of lamps in each room; some rooms are dark, and at most two lamps are light sources."""
    parts: list[Part] = []
    sources: list[tuple[Light, float]] = []
    kind = int(rng.integers(4))
    warmth = rng.uniform(0.0, 1.2)
    for room, ceiling in zip(floor.rooms, floor.ceilings, strict=True):
        if rng.random() < 0.15:
            continue
        width, length = room.x1 - room.x0, room.z1 - room.z0
        columns, rows = (max(1, min(8, round(size / rng.uniform(1.5, 4.0)))) for size in (width, length))
        turn = rng.choice([0.0, np.pi / 2])
        room_kind = kind if kind < 3 or ceiling > 2.7 else 2  # globes hang too low
        places = [
            Place(room.x0 + (i + 0.5) / columns * width, room.z0 + (j + 0.5) / rows * length, turn)
            for i in range(columns)
            for j in range(rows)
        ]
        parts += [part for place in places for part in fittings.ceiling_lamp(place, ceiling, room_kind, style)]
        power = rng.uniform(0.6, 2.2) * (width * length) ** 0.75 / 4
        color = (power, power * (1 - 0.12 * warmth), power * (1 - 0.34 * warmth))
        source = places[rng.integers(len(places))]
        sources.append((Light(source.x, source.z, ceiling - (0.7 if room_kind == 3 else 0.45), color), rng.random()))
    # One of the first lit room, and one of another.
    others = sorted(sources[1:], key=lambda source: source[1])[:1]
    return parts, [light for light, _ in [*sources[:1], *others]]


def _fit_out(plan: FloorPlan, floor: _Floor, style: Style, rng: np.random.Generator) -> tuple[list[Part], list[Light]]:
    """Closed doors, windows with curtains, boards, shelves, columns and pictures, and the daylight."""
    scale = min(3.0, max(0.5, floor.area() / 30))
    parts = fitting_out.put_doors(plan, int(rng.integers(0, 1 + round(3 * scale))), style, rng)
    windows, daylight = fitting_out.put_windows(
        plan, int(rng.integers(0, 1 + round(3 * scale))), style, rng, curtains=rng.random() < 0.5
    )
    parts += windows
    parts += fitting_out.put_boards(plan, int(rng.random() < 0.3), style, rng)
    parts += fitting_out.put_shelves(plan, int(rng.integers(0, 5)) if rng.random() < 0.3 else 0, style, rng)
    if rng.random() < 0.15:
        parts += fitting_out.put_columns(plan, int(rng.integers(1, 5)), style, rng)
    parts += fitting_out.put_pictures(plan, int(rng.integers(0, 1 + round(5 * scale))), style, rng)
    return parts, daylight[:2]


def _furnish(plan: FloorPlan, floor: _Floor, style: Style, rng: np.random.Generator) -> list[Part]:
    """Furniture of all kinds, more of it in larger rooms; some rooms are empty."""
    density = rng.choice([0.0, 0.4, 1.0, 2.0], p=[0.08, 0.27, 0.45, 0.2]) * min(2.5, floor.area() / 25)

    def up_to(maximum: float) -> int:
        return int(rng.integers(0, 1 + max(0, round(maximum * density))))

    furnisher = Furnisher(plan, style, rng, office_chairs=rng.random() < 0.4)
    offices = rng.random() < 0.35
    parts = furnisher.desks(up_to(6)) if offices else furnisher.beds(up_to(1.5)) + furnisher.kitchens(up_to(1.2))
    parts += furnisher.sofas(up_to(2))
    parts += furnisher.tables(up_to(2))
    parts += furnisher.cabinets(up_to(4))
    parts += furnisher.bookcases(up_to(2))
    parts += furnisher.chairs(up_to(3))
    parts += furnisher.piles(up_to(4))
    parts += furnisher.floor_clutter(up_to(4))
    return parts + furnisher.rugs(int(rng.integers(3)) if rng.random() < 0.5 else 0)


def _paint_walls(plan: FloorPlan, floor: _Floor, style: Style, rng: np.random.Generator) -> tuple[Material, ...]:
    """The material of each wall: one for each room, and another for one of the walls."""
    paints = [style.walls if rng.random() < 0.6 else other_paint(style, rng) for _ in floor.rooms]
    materials = []
    for number in range(len(plan.walls)):
        front = plan.at_wall(number, 0.0, 0.01)
        inside = [i for i, room in enumerate(floor.rooms) if room.contains(front.x, front.z)]
        materials.append(paints[inside[0]] if inside else style.walls)
    materials[rng.integers(len(materials))] = style.other_wall
    return tuple(materials)
