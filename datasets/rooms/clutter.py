"""Small objects of the class clutter, on the floor and on tables, each built at a `Place`."""

from dataclasses import replace

import numpy as np

from datasets.rooms.floor_plan import Place
from datasets.rooms.scene import Part
from datasets.rooms.style import Style, bright

FLOOR_CLUTTER_SIZE = 0.6  # meters, maximum width on the floor


def on_floor(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    """An object on the floor: cartons, a ball, a bin, a plant or a crate."""
    build = (_cartons, _ball, _bin, _plant, _crate)[rng.integers(5)]
    return build(place, style, rng)


def on_table(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    """An object, at most 0.4 m wide, on a table."""
    build = (_laptop, _mug, _book_pile, _table_lamp, _vase, _globe)[rng.integers(6)]
    return build(place, style, rng)


def monitor(place: Place, style: Style) -> list[Part]:
    """A computer monitor with a keyboard, on a desk; the screen faces local +z."""
    return _clutter(
        (place.cylinder(0, -0.08, 0.1, 0, 0.015), style.dark),
        (place.box(0, -0.1, 0.04, 0.03, 0.015, 0.2), style.dark),
        (place.box(0, -0.075, 0.56, 0.03, 0.1, 0.45), style.dark),
        (place.box(0, -0.0575, 0.53, 0.005, 0.115, 0.435), style.screen),
        (place.box(0, 0.14, 0.42, 0.14, 0, 0.02), style.dark),
    )


def floor_lamp(place: Place, style: Style) -> list[Part]:
    """A floor lamp, 1.6 m high; its light is at 1.42 m."""
    return _clutter(
        (place.cylinder(0, 0, 0.15, 0, 0.03), style.dark),
        (place.cylinder(0, 0, 0.015, 0.03, 1.25), style.dark),
        (place.cylinder(0, 0, 0.2, 1.25, 1.6), style.shade),
    )


def _clutter(*solids: tuple) -> list[Part]:
    return [Part(solid, "clutter", material) for solid, material in solids]


def _cartons(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    x, z, high = rng.uniform(0.28, 0.42, 3)
    parts = [(place.box(0, 0, x, z, 0, high), style.carton)]
    if rng.random() < 0.4:
        upper = rng.uniform(0.6, 0.9)
        parts.append((place.box(0, 0, x * upper, z * upper, high, high + 0.2, rng.uniform(-0.4, 0.4)), style.carton))
    return _clutter(*parts)


def _ball(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    radius = rng.uniform(0.1, 0.28)
    return _clutter((place.sphere(0, 0, radius, radius), bright(rng)))


def _bin(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    high = rng.uniform(0.28, 0.6)
    material = bright(rng) if rng.random() < 0.4 else style.metal
    return _clutter(
        (place.cylinder(0, 0, 0.14, 0, high), material), (place.cylinder(0, 0, 0.15, high, high + 0.03), style.dark)
    )


def _plant(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    high = rng.uniform(0.25, 0.6)
    pot = replace(bright(rng), color=(0.35, 0.14, 0.08)) if rng.random() < 0.6 else style.white
    parts = [(place.cylinder(0, 0, 0.15, 0, 0.28), pot), (place.cylinder(0, 0, 0.03, 0.28, 0.4 + high), style.wood)]
    for _ in range(6):
        x, z = rng.uniform(-0.14, 0.14, 2)
        parts.append((place.sphere(x, z, 0.4 + high * rng.uniform(0.2, 1.0), rng.uniform(0.09, 0.16)), style.plant))
    return _clutter(*parts)


def _crate(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    x, z, high = rng.uniform(0.3, 0.45, 3)
    return _clutter(
        (place.box(0, 0, x, z, 0, high), bright(rng)),
        (place.box(0, 0, x + 0.03, z + 0.03, high, high + 0.04), style.white),
    )


def _laptop(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    return _clutter(
        (place.box(0, 0.06, 0.34, 0.23, 0, 0.018), style.metal),
        (place.box(0, -0.06, 0.34, 0.012, 0.018, 0.24), style.metal),
        (place.box(0, -0.052, 0.32, 0.004, 0.03, 0.23), style.screen),
    )


def _mug(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    x, z = rng.uniform(-0.08, 0.08, 2)
    return _clutter((place.cylinder(x, z, 0.042, 0, 0.1), bright(rng)))


def _book_pile(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    parts, low = [], 0.0
    for _ in range(rng.integers(1, 5)):
        high = low + rng.uniform(0.02, 0.045)
        parts.append((place.box(0, 0, 0.24, 0.17, low, high, rng.uniform(-0.4, 0.4)), bright(rng)))
        low = high
    return _clutter(*parts)


def _table_lamp(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    return _clutter(
        (place.cylinder(0, 0, 0.08, 0, 0.02), style.dark),
        (place.cylinder(0, 0, 0.012, 0.02, 0.26), style.dark),
        (place.cylinder(0, 0, 0.13, 0.26, 0.44), style.shade),
    )


def _vase(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    return _clutter(
        (place.cylinder(0, 0, 0.05, 0, 0.18), bright(rng)),
        *((place.sphere(*rng.uniform(-0.06, 0.06, 2), rng.uniform(0.24, 0.34), 0.06), style.plant) for _ in range(4)),
    )


def _globe(place: Place, style: Style, rng: np.random.Generator) -> list[Part]:
    return _clutter((place.cylinder(0, 0, 0.07, 0, 0.04), style.dark), (place.sphere(0, 0, 0.15, 0.12), bright(rng)))
