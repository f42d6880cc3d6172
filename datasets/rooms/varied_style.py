"""Materials with far more colors and patterns than those of `style.random_style`."""

import colorsys
from dataclasses import fields, replace

import numpy as np

from datasets.rooms import textures
from datasets.rooms.scene import Color, Material
from datasets.rooms.style import Style, pick, random_style

_ANY_COLOR = 0.3  # probability of any color instead of a similar one
_KEPT = ("glass", "lamp", "shade", "screen")  # emissive materials keep their colors
_CEILINGS = (textures.planks, textures.concrete, textures.tiles, textures.plain)


def varied_style(rng: np.random.Generator) -> Style:
    """The materials of `random_style` in other colors, some with other patterns on floor, walls and ceiling."""
    style = random_style(rng)
    changed = {
        field.name: _recolored(getattr(style, field.name), rng) for field in fields(Style) if field.name not in _KEPT
    }
    style = replace(style, **changed, glass=replace(style.glass, glow=float(np.exp(rng.uniform(0.3, 2.2)))))
    if rng.random() < 0.35:
        style = replace(style, walls=_patterned(style.walls, rng))
    if rng.random() < 0.35:
        style = replace(style, other_wall=pick(rng, (_patterned(style.walls, rng), style.walls)))
    if rng.random() < 0.3:
        style = replace(style, floor=_patterned(style.floor, rng))
    if rng.random() < 0.25:
        style = replace(
            style, ceiling=replace(style.ceiling, texture=pick(rng, _CEILINGS), scale=rng.uniform(0.3, 1.2))
        )
    return style


def other_paint(style: Style, rng: np.random.Generator) -> Material:
    """The walls of an adjacent room."""
    return _patterned(style.walls, rng) if rng.random() < 0.2 else _recolored(style.walls, rng)


def _recolored(material: Material, rng: np.random.Generator) -> Material:
    """The material in similar colors, or in any colors."""
    if rng.random() < _ANY_COLOR:
        return replace(material, color=_any_color(rng), second=_any_color(rng))
    gain = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.08, 3))
    return replace(material, color=_scaled(material.color, gain), second=_scaled(material.second, gain))


def _patterned(material: Material, rng: np.random.Generator) -> Material:
    """The material with a pattern in any color, or in a lighter or darker shade of its own."""
    second = _any_color(rng) if rng.random() < 0.4 else _scaled(material.color, np.full(3, np.exp(rng.normal(0, 0.5))))
    texture = pick(rng, (textures.wallpaper, textures.wallpaper, textures.mottled))
    return replace(material, texture=texture, second=second, scale=float(np.exp(rng.uniform(-2.5, -0.3))))


def _any_color(rng: np.random.Generator) -> Color:
    """Any linear color, mostly of low saturation."""
    return colorsys.hsv_to_rgb(rng.random(), rng.random() ** 2 * 0.9, rng.uniform(0.03, 0.95))


def _scaled(color: Color, gain: np.ndarray) -> Color:
    return tuple(np.clip(np.array(color) * gain, 0.01, 0.97).tolist())
