"""Tables, chairs, sofas and bookcases, each a list of parts built at a `Place`; they face local +z."""

import numpy as np

from datasets.rooms.floor_plan import Place
from datasets.rooms.scene import Material, Part
from datasets.rooms.style import Style

CHAIR_SIZE = 0.46
SOFA_DEPTH = 0.88
BOOKCASE_DEPTH = 0.32


def table(place: Place, size_x: float, size_z: float, height: float, style: Style) -> list[Part]:
    """A table with four legs and an apron below its top."""
    top, leg = 0.035, 0.06
    x, z = size_x / 2 - 0.08, size_z / 2 - 0.08
    solids = [place.box(0, 0, size_x, size_z, height - top, height)]
    solids += [place.box(sx * x, sz * z, leg, leg, 0, height - top) for sx in (-1, 1) for sz in (-1, 1)]
    apron = height - top - 0.08, height - top
    solids += [place.box(0, side * z, 2 * x - leg, 0.02, *apron) for side in (-1, 1)]
    solids += [place.box(side * x, 0, 0.02, 2 * z - leg, *apron) for side in (-1, 1)]
    return [Part(solid, "table", style.table) for solid in solids]


def round_table(place: Place, radius: float, height: float, style: Style) -> list[Part]:
    """A round table on one leg."""
    return [
        Part(place.cylinder(0, 0, radius, height - 0.04, height), "table", style.table),
        Part(place.cylinder(0, 0, 0.05, 0.03, height - 0.04), "table", style.metal),
        Part(place.cylinder(0, 0, radius * 0.55, 0, 0.03), "table", style.metal),
    ]


def desk(place: Place, size_x: float, size_z: float, style: Style) -> list[Part]:
    """A desk with drawers under one end; its chair belongs on the +z side."""
    height = 0.74
    x = size_x / 2
    return [
        Part(place.box(0, 0, size_x, size_z, height - 0.03, height), "table", style.wood),
        Part(place.box(-x + 0.24, -0.02, 0.42, size_z - 0.1, 0.04, height - 0.03), "table", style.drawers),
        Part(place.box(x - 0.05, 0, 0.04, size_z - 0.06, 0, height - 0.03), "table", style.wood),
        Part(place.box(0, -size_z / 2 + 0.06, size_x - 0.12, 0.02, 0.3, height - 0.03), "table", style.wood),
    ]


def chair(place: Place, office: bool, style: Style) -> list[Part]:
    """A chair with four legs, or an office chair on one column."""
    if office:
        return _office_chair(place, style)
    seat, x = 0.46, CHAIR_SIZE / 2 - 0.03
    solids = [(place.box(0, 0, CHAIR_SIZE, CHAIR_SIZE, seat - 0.05, seat), style.chair)]
    solids += [(place.box(side * x, x, 0.04, 0.04, 0, seat - 0.05), style.wood) for side in (-1, 1)]
    solids += [(place.box(side * x, -x, 0.04, 0.04, 0, 0.92), style.wood) for side in (-1, 1)]
    solids += [(place.box(0, -x, 2 * x - 0.04, 0.025, low, low + 0.1), style.chair) for low in (0.58, 0.8)]
    solids += [(place.box(side * x, 0, 0.02, 2 * x - 0.04, 0.2, 0.23), style.wood) for side in (-1, 1)]
    return [Part(solid, "chair", material) for solid, material in solids]


def _office_chair(place: Place, style: Style) -> list[Part]:
    solids = [
        (place.box(0, 0.02, 0.48, 0.46, 0.42, 0.5), style.chair),
        (place.box(0, -0.22, 0.44, 0.07, 0.56, 1.02), style.chair),
        (place.box(0, -0.235, 0.08, 0.04, 0.42, 0.6), style.metal),
        (place.cylinder(0, 0, 0.03, 0.09, 0.42), style.metal),
    ]
    solids += [(place.box(0, 0, 0.56, 0.05, 0.05, 0.09, turn), style.dark) for turn in (0.0, np.pi / 3, -np.pi / 3)]
    solids += [(place.box(side * 0.26, 0, 0.05, 0.28, 0.66, 0.69), style.dark) for side in (-1, 1)]
    solids += [(place.box(side * 0.26, -0.05, 0.03, 0.04, 0.45, 0.66), style.dark) for side in (-1, 1)]
    return [Part(solid, "chair", material) for solid, material in solids]


def sofa(place: Place, width: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """A sofa or, if narrow, an armchair: base, back, arms, seat cushions and sometimes a loose cushion."""
    depth, arm = SOFA_DEPTH, 0.18
    seats = max(1, round((width - 2 * arm) / 0.65))
    seat_width = (width - 2 * arm) / seats
    parts = [
        (place.box(0, 0.02, width - 0.06, depth - 0.08, 0.08, 0.28), style.sofa),
        (place.box(0, -depth / 2 + 0.12, width - 2 * arm, 0.24, 0.28, 0.82), style.sofa),
        *((place.box(s * (width - arm) / 2, 0, arm, depth, 0.08, 0.6), style.sofa) for s in (-1, 1)),
        *(
            (place.box(sx * (width / 2 - 0.1), sz * (depth / 2 - 0.1), 0.06, 0.06, 0, 0.08), style.dark)
            for sx in (-1, 1)
            for sz in (-1, 1)
        ),
    ]
    for i in range(seats):
        x = (i + 0.5) * seat_width - (width - 2 * arm) / 2
        parts.append((place.box(x, 0.12, seat_width - 0.015, depth - 0.26, 0.28, 0.44), style.sofa))
        parts.append((place.box(x, -depth / 2 + 0.31, seat_width - 0.03, 0.14, 0.44, 0.86), style.sofa))
    if rng.random() < 0.6:
        x = rng.choice([-1, 1]) * (width / 2 - arm - 0.24)
        parts.append((place.box(x, 0.06, 0.4, 0.12, 0.44, 0.8, rng.uniform(-0.3, 0.3)), style.cushion))
    return [Part(solid, "sofa", material) for solid, material in parts]


def bookcase(place: Place, width: float, height: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """Open shelves with rows of books and a few other objects, all of the class bookcase."""
    depth, board = BOOKCASE_DEPTH, 0.025
    shelves = max(2, round(height / 0.36))
    pitch = (height - 0.06 - board) / shelves
    inner = width - 2 * board
    parts: list[tuple] = [(place.box(s * (width - board) / 2, 0, board, depth, 0, height), style.wood) for s in (-1, 1)]
    parts.append((place.box(0, -depth / 2 + 0.01, inner, 0.02, 0, height), style.wood))
    parts.append((place.box(0, 0.01, inner, depth - 0.02, 0, 0.06), style.wood))
    for i in range(shelves + 1):
        level = 0.06 + i * pitch
        parts.append((place.box(0, 0.01, inner, depth - 0.02, level, level + board), style.wood))
        if i < shelves:
            parts += _row_of_books(place.at(0, 0, up=level + board), inner, pitch - board, style, rng)
    return [Part(solid, "bookcase", material) for solid, material in parts]


def _row_of_books(place: Place, width: float, height: float, style: Style, rng: np.random.Generator) -> list[tuple]:
    """Groups of equally high books with gaps, on a shelf of this width with this height of free space above it."""
    row: list[tuple[object, Material]] = []
    x = -width / 2 + rng.uniform(0, 0.08)
    while x < width / 2 - 0.12:
        size = min(rng.uniform(0.15, 0.45), width / 2 - x)
        choice = rng.random()
        if choice < 0.8:
            deep = rng.uniform(0.17, 0.24)
            top = height * rng.uniform(0.6, 0.93)
            row.append((place.box(x + size / 2, -0.12 + deep / 2, size, deep, 0, top), style.books))
        elif choice < 0.9:
            row.append((place.sphere(x + size / 2, 0, 0.06, 0.06), style.cushion))
        x += size + (rng.uniform(0, 0.12) if choice < 0.8 else 0.02)
    return row
