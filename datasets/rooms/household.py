"""Beds, cabinets, kitchens, curtains, rugs, wall shelves, ducts and piles, each a list of parts built at a `Place`.

They face local +z. Most have the class clutter: `STANFORD2D3D` has no closer one.
"""

from dataclasses import replace

import numpy as np

from datasets.rooms import textures
from datasets.rooms.floor_plan import Place
from datasets.rooms.scene import Material, Part
from datasets.rooms.style import Style

COUNTER_DEPTH, CABINET_DEPTH = 0.6, 0.45  # meters


def bed(place: Place, width: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """A bed 2.1 m long with its head at local -z: frame, mattress, blanket, pillows and headboard."""
    high = rng.uniform(0.4, 0.62)
    blanket = replace(style.cushion, texture=textures.mottled, second=style.sofa.color, scale=rng.uniform(0.1, 0.5))
    parts = [
        (place.box(0, 0, width, 2.05, 0.1, high - 0.2), style.wood),
        (place.box(0, 0, width - 0.04, 2.0, high - 0.2, high), style.white),
        (place.box(0, 0.3, width + 0.06, 1.45, high - 0.22, high + 0.04), blanket),
        (place.box(0, -1.03, width + 0.1, 0.06, 0, rng.uniform(0.8, 1.3)), style.wood),
    ]
    pillows = 2 if width > 1.3 else 1
    for i in range(pillows):
        x = ((i + 0.5) / pillows - 0.5) * width
        parts.append((place.box(x, -0.75, 0.6, 0.4, high, high + 0.13, rng.uniform(-0.15, 0.15)), style.white))
    return [Part(solid, "clutter", material) for solid, material in parts]


def cabinet(place: Place, width: float, height: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """A wardrobe or chest with doors or drawers."""
    front = style.drawers if height < 1.3 else style.door
    leaves = max(1, round(width / 0.55))
    leaf = width / leaves
    parts = [Part(place.box(0, -0.01, width, CABINET_DEPTH - 0.02, 0, height), "clutter", style.wood)]
    for i in range(leaves):
        x = (i + 0.5) * leaf - width / 2
        solid = place.box(x, CABINET_DEPTH / 2 - 0.01, leaf - 0.01, 0.02, 0.06, height - 0.02)
        parts.append(Part(solid, "clutter", front))
    return parts


def kitchen(place: Place, width: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """A counter along a wall with cupboards below and, mostly, above; sometimes a refrigerator at its end."""
    front = Material(textures.plain, style.drawers.color if rng.random() < 0.5 else style.white.color)
    parts = [
        (place.box(0, -0.02, width, COUNTER_DEPTH - 0.06, 0.1, 0.87), style.drawers),
        (place.box(0, 0, width, COUNTER_DEPTH, 0.87, 0.91), style.table),
    ]
    if rng.random() < 0.75:
        parts.append((place.box(0, -0.13, width, 0.34, 1.45, rng.uniform(1.95, 2.25)), front))
    if width > 1.8 and rng.random() < 0.5:
        parts.append(
            (place.box(width / 2 - 0.32, 0.01, 0.62, COUNTER_DEPTH + 0.02, 0, rng.uniform(1.5, 2.0)), style.white)
        )
    for _ in range(int(rng.integers(4))):
        size, high = rng.uniform(0.1, 0.35, 2)
        x = rng.uniform(-0.5, 0.3) * (width - 0.4)
        parts.append((place.box(x, -0.1, size, size, 0.91, 0.91 + high, rng.uniform(-0.3, 0.3)), style.metal))
    return [Part(solid, "clutter", material) for solid, material in parts]


def curtains(place: Place, width: float, low: float, high: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """Two curtains, open or nearly closed, in front of a window of this width; the place is on the wall."""
    cloth = Material(textures.folds, style.cushion.color, scale=rng.uniform(0.07, 0.16))
    half = width * rng.uniform(0.2, 0.55)
    solids = [place.box(side * (width / 2 + 0.1 - half / 2), 0.13, half, 0.07, low, high) for side in (-1, 1)]
    return [Part(solid, "clutter", cloth) for solid in solids]


def rug(place: Place, size_x: float, size_z: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """A rug, of the class floor."""
    texture = (textures.mottled, textures.wallpaper, textures.carpet)[rng.integers(3)]
    material = Material(texture, style.cushion.color, style.sofa.color, scale=rng.uniform(0.08, 0.5))
    return [Part(place.box(0, 0, size_x, size_z, 0, 0.012), "floor", material)]


def wall_shelf(place: Place, width: float, height: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """A shelf at this height with objects on it; the place is on the wall."""
    parts = [Part(place.box(0, 0.14, width, 0.28, height - 0.03, height), "clutter", style.wood)]
    x = -width / 2
    while x < width / 2 - 0.3:
        size = rng.uniform(0.1, 0.3)
        if rng.random() < 0.75:
            solid = place.box(
                x + size / 2, 0.14, size * 0.95, rng.uniform(0.1, 0.26), height, height + rng.uniform(0.08, 0.33)
            )
            parts.append(Part(solid, "clutter", _random_material(style, rng)))
        x += size
    return parts


def _random_material(style: Style, rng: np.random.Generator) -> Material:
    materials = (style.wood, style.white, style.dark, style.metal, style.cushion, style.carton, style.sofa, style.books)
    return materials[rng.integers(len(materials))]


def ducts(
    half_x: float, half_z: float, ceiling: float, count: int, style: Style, rng: np.random.Generator
) -> list[Part]:
    """Ducts, cable trays and long lamps below the ceiling of a floor plan, parallel to its sides."""
    parts = []
    for _ in range(count):
        x, z = rng.uniform(-1, 1, 2) * (half_x, half_z)
        wide, thick = rng.uniform(0.05, 0.6), rng.uniform(0.04, 0.4)
        low = max(2.1, ceiling - thick - rng.uniform(0, 0.4))
        along = Place(x, z, rng.choice([0.0, np.pi / 2]))
        material = style.lamp if rng.random() < 0.2 else (style.metal, style.ceiling, style.beam)[rng.integers(3)]
        if low < ceiling - 0.04:
            solid = along.box(0, 0, wide, rng.uniform(1.5, 10), low, min(low + thick, ceiling))
            parts.append(Part(solid, "clutter", material))
    return parts


def pile(place: Place, size: float, height: float, style: Style, rng: np.random.Generator) -> list[Part]:
    """Boxes, cylinders and balls of random materials on and beside each other, `size` meters wide."""
    parts = []
    for _ in range(int(rng.integers(1, 6))):
        x, z = rng.uniform(-0.3, 0.3, 2) * size
        width, depth = rng.uniform(0.15, 0.4, 2) * size
        base = rng.choice([0.0, rng.uniform(0, 0.6) * height])
        top = base + rng.uniform(0.2, 1.0) * (height - base)
        kind = rng.random()
        if kind < 0.7:
            solid = place.box(x, z, width, depth, base, top, rng.uniform(-0.5, 0.5))
        elif kind < 0.9:
            solid = place.cylinder(x, z, width / 2, base, top)
        else:
            solid = place.sphere(x, z, base + width / 2, width / 2)
        parts.append(Part(solid, "clutter", _random_material(style, rng)))
    return parts
