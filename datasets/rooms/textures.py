"""Procedural textures: linear colors (N, 3) computed from surface coordinates.

Every texture is a function of a `Patch` and a `Material`. Lines are averaged over the footprint of a pixel, and noise
fades out where it is finer, so that small images are smooth rather than speckled.
"""

import numpy as np

from datasets.rooms.noise import hash_unit, value_noise
from datasets.rooms.scene import Material
from datasets.rooms.surfaces import Patch


def plain(p: Patch, m: Material) -> np.ndarray:
    """One color with faint clouds, like paint."""
    return _tint(m.color, 1 + 0.08 * _noise(p, 0.35) + 0.05 * _noise(p, 0.04))


def painted_wall(p: Patch, m: Material) -> np.ndarray:
    """Paint with a baseboard in the second color."""
    return _with_baseboard(p, m, plain(p, m))


def stripes(p: Patch, m: Material) -> np.ndarray:
    """Wallpaper with vertical stripes of low contrast, and a baseboard in the second color."""
    stripe = _lines(p.s, m.scale, m.scale / 2, p.footprint)
    thin = _lines(p.s + m.scale / 4, m.scale / 2, m.scale / 16, p.footprint)
    return _with_baseboard(p, m, _tint(m.color, (1 - 0.22 * stripe) * (1 - 0.25 * thin) + 0.04 * _noise(p, 0.3)))


def bricks(p: Patch, m: Material) -> np.ndarray:
    """Brickwork with mortar in the second color; `scale` is the length of a brick."""
    row, column, joints = _courses(p, m.scale, m.scale / 3, shift=0.5, gap=m.scale * 0.05)
    shade = 0.75 + 0.5 * hash_unit(row, column, 7) * _fade(p, m.scale / 3) + 0.25 * _noise(p, 0.03)
    return _mix(_tint(m.color, shade), m.second, joints)


def planks(p: Patch, m: Material) -> np.ndarray:
    """Floorboards along s with gaps in the second color; `scale` is their width."""
    row = np.floor(p.t / m.scale)
    shift = hash_unit(row, np.zeros_like(row), 3)
    column = np.floor(p.s / (9 * m.scale) + shift)
    grain = value_noise(p.s * 3, p.t * 45 + 17 * row, 5) - 0.5
    shade = 0.8 + 0.4 * hash_unit(row, column, 11) * _fade(p, m.scale) + 0.35 * grain * _fade(p, 0.02)
    ends = _lines(p.s + shift * 9 * m.scale, 9 * m.scale, 0.004, p.footprint)
    gaps = np.maximum(_lines(p.t, m.scale, 0.004, p.footprint), ends)
    return _mix(_tint(m.color, shade), m.second, 0.8 * gaps)


def tiles(p: Patch, m: Material) -> np.ndarray:
    """Square tiles with thin joints in the second color; `scale` is their size."""
    row, column, joints = _courses(p, m.scale, m.scale, shift=0.0, gap=0.008)
    shade = 0.94 + 0.12 * hash_unit(row, column, 23) + 0.08 * _noise(p, 0.15)
    return _mix(_tint(m.color, shade), m.second, joints)


def checkerboard(p: Patch, m: Material) -> np.ndarray:
    """Square tiles in alternating colors; `scale` is their size."""
    row, column = np.floor(p.t / m.scale), np.floor(p.s / m.scale)
    even = ((row + column) % 2).astype(np.float32)
    even = 0.5 + (even - 0.5) * _fade(p, m.scale)
    return _mix(m.color, m.second, even) * (1 + 0.1 * _noise(p, 0.2))[:, None]


def carpet(p: Patch, m: Material) -> np.ndarray:
    """A speckled pile with large, faint clouds."""
    speckle = 0.5 * _noise(p, 0.012) + 0.35 * _noise(p, 0.05)
    return _tint(m.color, 1 + speckle + 0.15 * _noise(p, 0.6))


def wood(p: Patch, m: Material) -> np.ndarray:
    """Grain along the longer side of the face."""
    upright = p.half_t > p.half_s
    along, across = np.where(upright, p.t, p.s), np.where(upright, p.s, p.t)
    waves = value_noise(along * 2.5, across * 14, p.seed)
    fine = value_noise(along * 6, across * 90, p.seed + 1) - 0.5
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * waves)
    shade = 0.82 + 0.3 * rings * _fade(p, 0.05) + 0.25 * fine * _fade(p, 0.01)
    return _tint(m.color, shade) * (0.9 + 0.2 * hash_unit(p.seed, p.seed, 1))[:, None]


def fabric(p: Patch, m: Material) -> np.ndarray:
    """Woven cloth, a little darker along the seams at the edges of the face."""
    weave = 0.5 * _noise(p, 0.008) + 0.3 * _noise(p, 0.03) + 0.15 * _noise(p, 0.2)
    edge = np.minimum(p.half_s - np.abs(p.s), p.half_t - np.abs(p.t))
    seam = np.clip(1 - edge / np.maximum(0.02, p.footprint), 0, 1)
    return _tint(m.color, (1 + weave) * (1 - 0.35 * seam))


def concrete(p: Patch, m: Material) -> np.ndarray:
    """Blotchy concrete with fine pores."""
    return _tint(m.color, 0.95 + 0.25 * _noise(p, 0.4) + 0.2 * _noise(p, 0.08) + 0.2 * _noise(p, 0.015))


def door_leaf(p: Patch, m: Material) -> np.ndarray:
    """A wooden door leaf with two panels, one above the other, drawn by their dark and light edges."""
    color = wood(p, m)
    middle, half_height = np.where(p.t > 0, 0.46, -0.46) * p.half_t, 0.36 * p.half_t
    distance = np.maximum(np.abs(p.s) - 0.66 * p.half_s, np.abs(p.t - middle) - half_height)  # meters, < 0 in a panel
    width = np.maximum(0.012, p.footprint / 2)
    edge = np.clip(1 - np.abs(distance) / width, 0, 1)
    lit = np.where((p.t < middle) == (np.abs(p.t - middle) > half_height * 0.97), 1.0, -1.0)
    return color * (1 - 0.12 * (distance < 0) + 0.45 * edge * lit * 0.6 - 0.25 * edge)[:, None]


def outside(p: Patch, m: Material) -> np.ndarray:
    """The bright view through a window: a sky in the first color, clouds, distant hills and trees."""
    level = p.t / p.half_t
    clouds = np.clip(value_noise(p.s * 2 + 9, p.t * 5, p.seed) * 1.6 - 0.6, 0, 1)
    sky = _mix(_mix((1.0, 1.0, 1.0), m.color, np.clip(level * 0.8 + 0.4, 0, 1)), (1.0, 1.0, 1.0), 0.7 * clouds)
    ridge = -0.25 + 0.5 * (value_noise(p.s * 3, np.zeros_like(p.s), p.seed + 2) - 0.5)
    trees = -0.55 + 0.5 * (value_noise(p.s * 9, np.zeros_like(p.s), p.seed + 3) - 0.3)
    leaves = 0.6 + 0.8 * value_noise(p.s * 25, p.t * 25, p.seed + 4)
    ground = _mix((0.45, 0.55, 0.6), _tint((0.1, 0.22, 0.06), leaves), _step(trees - level, p.footprint / p.half_t))
    return _mix(sky, ground, _step(ridge - level, p.footprint / p.half_t))


def handwriting(p: Patch, m: Material) -> np.ndarray:
    """A board in the first color with lines of scribbles in the second one."""
    pitch = 0.13
    row = np.floor(p.t / pitch)
    word = np.floor(p.s / 0.17 + 3 * hash_unit(row, p.seed, 1))
    margin = (np.abs(p.s) < p.half_s - 0.12) & (np.abs(p.t) < p.half_t - 0.1)
    written = margin & (hash_unit(word, row, p.seed) > 0.35) & (hash_unit(row, p.seed, 5) > 0.25)
    curve = pitch * (0.5 + 0.7 * (value_noise(p.s * 38, 3.7 * row, p.seed + 6) - 0.5))
    pen = np.maximum(0.007, p.footprint / 2)
    ink = np.clip(1.3 - np.abs(p.t - row * pitch - curve) / pen, 0, 1) * np.minimum(0.012 / pen, 1) * written
    smears = 1 + 0.1 * _noise(p, 0.3)
    return _mix(_tint(m.color, smears), m.second, np.minimum(ink, 1))


def books(p: Patch, m: Material) -> np.ndarray:
    """Spines of books side by side, in random colors tinted by the first one; `scale` is their mean thickness."""
    x = p.s / m.scale + 50
    nearest = np.round(x)
    book = nearest - (x < nearest + 0.7 * (hash_unit(nearest, p.seed, 2) - 0.5))
    edge = np.minimum(np.abs(x - _book_start(book, p.seed)), np.abs(_book_start(book + 1, p.seed) - x))
    hue = hash_unit(book, p.seed, 4)
    value = 0.12 + 0.6 * hash_unit(book, p.seed, 5) ** 2
    wheel = 0.55 + 0.45 * np.cos(2 * np.pi * (hue[:, None] + np.array([0.0, 0.36, 0.62], np.float32)))
    color = wheel * value[:, None] * (0.5 + np.array(m.color, np.float32))
    band = np.abs(p.t / p.half_t - (hash_unit(book, p.seed, 6) - 0.3)) < 0.12
    label = (band & (hash_unit(book, p.seed, 8) > 0.4)) * 0.7 * _fade(p, 0.02)
    color = _mix(color, (0.75, 0.68, 0.5), label)
    dark = np.clip(1 - edge * m.scale / np.maximum(0.003, p.footprint / 2), 0, 1) * _fade(p, 0.03)
    return color * (1 - 0.8 * dark)[:, None]


def picture(p: Patch, m: Material) -> np.ndarray:
    """An abstract painting in both colors and a beige, with a passe-partout."""
    scale = np.minimum(p.half_s, p.half_t)
    x, y = p.s / scale, p.t / scale
    a = value_noise(x * 1.3 + 5, y * 1.3, p.seed)
    b = value_noise(x * 2 + 3 * a, y * 2 - 2 * a, p.seed + 1)
    color = _mix(_mix(m.color, m.second, _step(a - 0.5, 0.1)), (0.8, 0.75, 0.6), _step(b - 0.62, 0.05))
    passe_partout = np.minimum(p.half_s - np.abs(p.s), p.half_t - np.abs(p.t)) < 0.04
    return _mix(color, (0.8, 0.8, 0.78), passe_partout.astype(np.float32))


def screen(p: Patch, m: Material) -> np.ndarray:
    """A lit display: a window with lines of text on the first color."""
    row, column = np.floor(p.t / 0.018), np.floor(p.s / 0.03)
    text = (hash_unit(row, column, p.seed) > 0.45) * _lines(p.t, 0.018, 0.007, p.footprint)
    page = (np.abs(p.s) < 0.8 * p.half_s) & (np.abs(p.t) < 0.75 * p.half_t)
    return _mix(_mix(m.color, (0.85, 0.88, 0.9), page.astype(np.float32)), m.second, page * text)


def cardboard(p: Patch, m: Material) -> np.ndarray:
    """A carton with a strip of tape in the second color across its faces."""
    tape = np.clip(1.5 - np.abs(p.s) / 0.03, 0, 1)
    return _mix(_tint(m.color, 1 + 0.15 * _noise(p, 0.1)), m.second, 0.6 * tape)


def leaves(p: Patch, m: Material) -> np.ndarray:
    """Dense foliage."""
    return _tint(m.color, np.maximum(0.8 + 1.6 * _noise(p, 0.025) + 0.8 * _noise(p, 0.09), 0.1))


def drawers(p: Patch, m: Material) -> np.ndarray:
    """Stacked wooden fronts, each with a gap and a knob in the second color; `scale` is their height."""
    gaps = _lines(p.t - p.half_t, m.scale, 0.012, p.footprint)
    height = np.mod(p.t - p.half_t, m.scale) - m.scale / 2
    knob = np.clip(1.5 - np.hypot(np.abs(p.s), height) / np.maximum(0.018, p.footprint / 2), 0, 1)
    return _mix(wood(p, m), m.second, np.maximum(0.8 * gaps, knob))


def wallpaper(p: Patch, m: Material) -> np.ndarray:
    """A periodic ornament in the second color on the first one; `scale` is its period."""
    row = np.floor(p.t / m.scale)
    x = 2 * np.pi * (p.s / m.scale + 0.5 * (row % 2))
    y = 2 * np.pi * p.t / m.scale
    ornament = (
        np.cos(x) * np.cos(y) + 0.6 * np.cos(2 * x + y) + 0.5 * np.cos(3 * y - x) + 0.4 * np.cos(3 * x) * np.cos(y)
    )
    covered = 0.35 + (_step(ornament - 0.3, 0.6) - 0.35) * _fade(p, m.scale / 4)
    return _mix(_tint(m.color, 1 + 0.06 * _noise(p, 0.5)), m.second, 0.75 * covered)


def mottled(p: Patch, m: Material) -> np.ndarray:
    """Irregular patches in both colors, like rugs or marble; `scale` is the size of the largest ones."""
    coarse, fine = _noise(p, m.scale), _noise(p, m.scale / 4)
    blend = np.clip(0.5 + 2.2 * coarse + 1.2 * fine, 0, 1)
    return _mix(m.color, m.second, blend) * (1 + 0.5 * _noise(p, m.scale / 12))[:, None]


def folds(p: Patch, m: Material) -> np.ndarray:
    """Cloth with vertical folds; `scale` is their width."""
    shift = 1.5 * value_noise(p.s / m.scale / 3, p.t * 0.7, p.seed)
    shade = 0.78 + 0.22 * np.cos(2 * np.pi * (p.s / m.scale + shift)) * _fade(p, m.scale / 2)
    return _tint(m.color, shade * (1 + 0.1 * _noise(p, 0.05)))


def _book_start(book: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Position of the left edge of a book, in units of the mean thickness."""
    return book + 0.7 * (hash_unit(book, seed, 2) - 0.5)


def _with_baseboard(p: Patch, m: Material, color: np.ndarray) -> np.ndarray:
    """The colors of a wall with a baseboard in the second color."""
    height = p.t + p.half_t
    color = _mix(color, m.second, _step(0.09 - height, p.footprint))
    shadow = np.clip(1 - np.abs(height - 0.095) / np.maximum(0.006, p.footprint / 2), 0, 1)
    return color * (1 - 0.3 * shadow)[:, None]


def _courses(
    p: Patch, length: float, height: float, shift: float, gap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column of the brick or tile at each point, and the fraction of the pixel in joints of width `gap`.

    Args:
        shift: offset of every other row, as a fraction of `length`.
    """
    row = np.floor(p.t / height)
    s = p.s + shift * length * (row % 2)
    joints = np.maximum(_lines(p.t, height, gap, p.footprint), _lines(s, length, gap, p.footprint))
    return row, np.floor(s / length), joints


def _lines(x: np.ndarray, period: float, width: float, footprint: np.ndarray) -> np.ndarray:
    """Fraction of a pixel's footprint around x that is covered by lines at the integer multiples of `period`."""

    def covered(x: np.ndarray) -> np.ndarray:  # length of line from 0 to x
        whole = np.floor(x / period)
        return whole * width + np.minimum(x - whole * period, width)

    x = x + width / 2
    return np.clip((covered(x + footprint / 2) - covered(x - footprint / 2)) / footprint, 0, 1)


def _step(x: np.ndarray, blur: np.ndarray | float) -> np.ndarray:
    """0 where x is well below 0, 1 well above, a ramp of width `blur` in between."""
    return np.clip(x / blur + 0.5, 0, 1)


def _fade(p: Patch, size: float) -> np.ndarray:
    """1 where details of `size` meters are many pixels wide, toward 0 where they are smaller than a pixel."""
    return 1 / (1 + (p.footprint / size) ** 2)


def _noise(p: Patch, size: float) -> np.ndarray:
    """Value noise in [-0.5, 0.5) with lumps of `size` meters, faded out where they are smaller than a pixel."""
    return (value_noise(p.s / size, p.t / size, p.seed) - 0.5) * _fade(p, size)


def _tint(color: tuple[float, float, float], shade: np.ndarray) -> np.ndarray:
    """The color in shades (N,): colors (N, 3)."""
    return np.array(color, np.float32) * shade[:, None].astype(np.float32)


def _mix(first: np.ndarray | tuple, second: np.ndarray | tuple, fraction: np.ndarray) -> np.ndarray:
    """Colors (3,) or (N, 3), blended with the fraction (N,) of the second one."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return first + (second - first) * fraction[:, None].astype(np.float32)
