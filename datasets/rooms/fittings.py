"""Fittings of a room: doors, windows, boards, pictures, radiators, columns and lamps.

Objects on walls are built at a `Place` on the surface of the wall, facing the room, and centered there horizontally.
"""

import numpy as np

from datasets.rooms.floor_plan import Place
from datasets.rooms.scene import Material, Part
from datasets.rooms.style import Style, painting

DOOR_HEIGHT = 2.05


def door(place: Place, width: float, style: Style) -> list[Part]:
    """A closed door in its frame, with a handle; wide ones have two leaves. `width` includes the frame."""
    opening = width - 0.16
    leaves = 2 if opening > 1.2 else 1
    leaf = opening / leaves
    parts = _frame(place, width, 0.0, DOOR_HEIGHT + 0.08, 0.08, 0.07, "door", style.frame, sill=False)
    for i in range(leaves):
        middle = (i + 0.5) * leaf - opening / 2
        handle = middle + (0.5 - i) * (leaf - 0.16) if leaves == 2 else middle + leaf / 2 - 0.08
        parts += [
            Part(place.box(middle, 0.02, leaf - 0.008, 0.04, 0.005, DOOR_HEIGHT), "door", style.door),
            Part(place.box(handle, 0.045, 0.05, 0.01, 0.95, 1.15), "door", style.metal),
            Part(place.box(handle - 0.03 * (1 - 2 * i), 0.08, 0.13, 0.025, 1.04, 1.065), "door", style.metal),
        ]
    return parts


def window(place: Place, width: float, low: float, high: float, style: Style) -> list[Part]:
    """A window with frame, sill and glazing bars between the heights `low` and `high`."""
    parts = _frame(place, width, low, high, 0.07, 0.08, "window", style.frame)
    parts.append(Part(place.box(0, 0.01, width - 0.1, 0.02, low + 0.05, high - 0.05), "window", style.glass))
    parts.append(Part(place.box(0, 0.09, width + 0.1, 0.18, low - 0.04, low), "window", style.frame))
    bars = int(width / 0.75)
    for i in range(bars):
        x = ((i + 1) / (bars + 1) - 0.5) * width
        parts.append(Part(place.box(x, 0.03, 0.05, 0.06, low + 0.06, high - 0.06), "window", style.frame))
    middle = low + 0.68 * (high - low)
    parts.append(Part(place.box(0, 0.025, width - 0.1, 0.05, middle - 0.02, middle + 0.02), "window", style.frame))
    return parts


def board(place: Place, width: float, low: float, high: float, style: Style) -> list[Part]:
    """A whiteboard or blackboard with frame and tray."""
    parts = _frame(place, width, low, high, 0.04, 0.035, "board", style.board_frame)
    parts.append(Part(place.box(0, 0.01, width - 0.06, 0.02, low + 0.03, high - 0.03), "board", style.board))
    parts.append(Part(place.box(0, 0.05, width * 0.6, 0.1, low - 0.02, low), "board", style.board_frame))
    return parts


def picture(place: Place, width: float, low: float, high: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """A framed picture."""
    parts = _frame(place, width, low, high, 0.03, 0.03, "clutter", style.dark if rng.random() < 0.5 else style.wood)
    canvas = place.box(0, 0.0075, width - 0.04, 0.015, low + 0.02, high - 0.02)
    return [*parts, Part(canvas, "clutter", painting(rng))]


def radiator(place: Place, width: float, style: Style) -> list[Part]:
    """A radiator of vertical elements, 0.15 to 0.65 m above the floor."""
    ribs = int(width / 0.12)
    pitch = width / ribs
    solids = [place.box((i + 0.5) * pitch - width / 2, 0.08, pitch * 0.7, 0.1, 0.15, 0.65) for i in range(ribs)]
    solids.append(place.box(0, 0.08, width, 0.05, 0.2, 0.6))
    return [Part(solid, "clutter", style.white) for solid in solids]


def column(place: Place, size: float, ceiling: float, is_round: bool, style: Style) -> list[Part]:
    """A column from floor to ceiling with a base, round or square, of width `size`."""
    if is_round:
        solids = [place.cylinder(0, 0, size / 2, 0, ceiling), place.cylinder(0, 0, size / 2 + 0.04, 0, 0.12)]
    else:
        solids = [place.box(0, 0, size, size, 0, ceiling), place.box(0, 0, size + 0.06, size + 0.06, 0, 0.1)]
    return [Part(solid, "column", style.column) for solid in solids]


def ceiling_lamp(place: Place, ceiling: float, kind: int, style: Style) -> list[Part]:
    """A lamp of one of four kinds: 0 square panel, 1 long tube light, 2 disk, 3 globe on a cord."""
    if kind == 0:
        rim = Part(place.box(0, 0, 0.66, 0.66, ceiling - 0.03, ceiling), "clutter", style.white)
        return [rim, Part(place.box(0, 0, 0.58, 0.58, ceiling - 0.04, ceiling), "clutter", style.lamp)]
    if kind == 1:
        case = Part(place.box(0, 0, 1.3, 0.2, ceiling - 0.05, ceiling), "clutter", style.white)
        return [case, Part(place.box(0, 0, 1.2, 0.1, ceiling - 0.09, ceiling - 0.05), "clutter", style.lamp)]
    if kind == 2:
        return [Part(place.cylinder(0, 0, 0.22, ceiling - 0.1, ceiling), "clutter", style.lamp)]
    cord = Part(place.cylinder(0, 0, 0.012, ceiling - 0.4, ceiling), "clutter", style.dark)
    return [cord, Part(place.sphere(0, 0, ceiling - 0.5, 0.14), "clutter", style.lamp)]


def _frame(
    place: Place,
    width: float,
    low: float,
    high: float,
    bar: float,
    depth: float,
    label: str,
    material: Material,
    sill: bool = True,
) -> list[Part]:
    """Bars around a rectangle on the wall; `width`, `low` and `high` are those of the outer edges."""
    solids = [
        place.box(-width / 2 + bar / 2, depth / 2, bar, depth, low, high),
        place.box(width / 2 - bar / 2, depth / 2, bar, depth, low, high),
        place.box(0, depth / 2, width - 2 * bar, depth, high - bar, high),
    ]
    if sill:
        solids.append(place.box(0, depth / 2, width - 2 * bar, depth, low, low + bar))
    return [Part(solid, label, material) for solid in solids]
