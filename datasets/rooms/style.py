"""Random, matching materials for a room."""

from dataclasses import dataclass

import numpy as np

from datasets.rooms import textures
from datasets.rooms.scene import Color, Material


def srgb(red: int, green: int, blue: int) -> Color:
    """The linear color of 8-bit display values."""
    return (red / 255) ** 2.2, (green / 255) ** 2.2, (blue / 255) ** 2.2


WHITE = srgb(232, 230, 224)
DARK = srgb(38, 36, 36)
_WALL_PAINTS = (
    srgb(226, 220, 206),
    srgb(214, 218, 220),
    srgb(198, 210, 196),
    srgb(186, 202, 216),
    srgb(226, 206, 184),
    srgb(232, 220, 170),
    srgb(208, 188, 190),
    srgb(150, 164, 160),
)
_WOODS = (
    srgb(196, 152, 102),
    srgb(160, 112, 70),
    srgb(112, 72, 46),
    srgb(214, 184, 142),
    srgb(84, 58, 44),
    srgb(176, 128, 96),
)
_FABRICS = (
    srgb(120, 124, 130),
    srgb(70, 84, 110),
    srgb(140, 60, 54),
    srgb(92, 112, 84),
    srgb(176, 160, 134),
    srgb(60, 110, 116),
    srgb(190, 140, 60),
    srgb(72, 68, 70),
)
_BRIGHT = (srgb(210, 60, 50), srgb(40, 110, 180), srgb(240, 180, 40), srgb(60, 150, 90), srgb(230, 120, 40))
_PALE = (srgb(200, 190, 175), srgb(150, 155, 160), srgb(170, 130, 105), srgb(120, 130, 120), srgb(140, 125, 150))
_SKIES = (srgb(120, 175, 235), srgb(150, 190, 225), srgb(190, 205, 220))


def pick(rng: np.random.Generator, choices: tuple):
    """A uniformly random choice."""
    return choices[rng.integers(len(choices))]


def bright(rng: np.random.Generator) -> Material:
    """A material in a bright color, for small objects."""
    return Material(textures.plain, pick(rng, _BRIGHT))


def painting(rng: np.random.Generator) -> Material:
    """A random painting."""
    return Material(textures.picture, pick(rng, _BRIGHT + _FABRICS), pick(rng, _BRIGHT + _PALE))


@dataclass(frozen=True)
class Style:
    """The materials of a room, named after objects."""

    floor: Material
    walls: Material
    other_wall: Material  # one wall may differ
    ceiling: Material
    wood: Material
    table: Material
    drawers: Material
    chair: Material
    sofa: Material
    cushion: Material
    metal: Material
    door: Material
    frame: Material
    glass: Material
    board: Material
    board_frame: Material
    books: Material
    beam: Material
    column: Material
    lamp: Material
    shade: Material
    plant: Material
    carton: Material
    screen: Material
    dark: Material
    white: Material


def random_style(rng: np.random.Generator) -> Style:
    """Random materials for a room."""
    wood, fabric = pick(rng, _WOODS), pick(rng, _FABRICS)
    furniture = Material(textures.wood, wood)
    white = Material(textures.plain, WHITE)
    metal = Material(textures.plain, pick(rng, (srgb(150, 152, 156), srgb(60, 60, 64))))
    frame = pick(rng, (white, furniture, Material(textures.plain, srgb(90, 94, 100))))
    walls, other_wall = _random_walls(rng, baseboard=frame.color)
    blackboard = rng.random() < 0.35
    board = (srgb(44, 66, 54), srgb(225, 225, 215)) if blackboard else (srgb(242, 243, 245), srgb(30, 50, 130))
    return Style(
        floor=_random_floor(rng),
        walls=walls,
        other_wall=other_wall,
        ceiling=_random_ceiling(rng),
        wood=furniture,
        table=pick(rng, (Material(textures.wood, pick(rng, _WOODS)), furniture, white)),
        drawers=Material(textures.drawers, wood, DARK, scale=0.2),
        chair=pick(rng, (furniture, Material(textures.fabric, pick(rng, _FABRICS)), Material(textures.plain, DARK))),
        sofa=Material(textures.fabric, fabric),
        cushion=Material(textures.fabric, pick(rng, _BRIGHT + _FABRICS)),
        metal=metal,
        door=Material(textures.door_leaf, pick(rng, (*_WOODS, WHITE, srgb(120, 140, 150)))),
        frame=frame,
        glass=Material(textures.outside, pick(rng, _SKIES), glow=rng.uniform(1.6, 2.6)),
        board=Material(textures.handwriting, *board),
        board_frame=pick(rng, (metal, furniture)),
        books=Material(textures.books, pick(rng, _PALE), scale=rng.uniform(0.03, 0.05)),
        beam=pick(rng, (Material(textures.wood, pick(rng, _WOODS)), Material(textures.concrete, srgb(165, 163, 158)))),
        column=pick(rng, (white, Material(textures.concrete, srgb(170, 168, 162)))),
        lamp=Material(textures.plain, srgb(255, 246, 228), glow=2.5),
        shade=Material(textures.fabric, srgb(246, 226, 186), glow=0.9),
        plant=Material(textures.leaves, srgb(70, 120, 50)),
        carton=Material(textures.cardboard, srgb(178, 140, 98), srgb(214, 190, 150)),
        screen=Material(textures.screen, srgb(40, 70, 120), DARK, glow=0.7),
        dark=Material(textures.plain, DARK),
        white=white,
    )


def _random_floor(rng: np.random.Generator) -> Material:
    choice = rng.random()
    if choice < 0.45:
        return Material(textures.planks, pick(rng, _WOODS), DARK, scale=rng.uniform(0.1, 0.2))
    if choice < 0.7:
        joint = srgb(120, 116, 110)
        return Material(textures.tiles, pick(rng, (*_PALE, srgb(205, 200, 190))), joint, scale=rng.uniform(0.3, 0.6))
    if choice < 0.8:
        return Material(
            textures.checkerboard, srgb(225, 222, 214), pick(rng, (DARK, *_PALE)), scale=rng.uniform(0.3, 0.5)
        )
    return Material(textures.carpet, pick(rng, (*_PALE, *_FABRICS)))


def _random_walls(rng: np.random.Generator, baseboard: Color) -> tuple[Material, Material]:
    """The material of the walls, and of the one wall that may differ."""
    paint = pick(rng, _WALL_PAINTS)
    walls = Material(textures.painted_wall, paint, baseboard)
    if rng.random() < 0.3:
        walls = Material(textures.stripes, paint, baseboard, scale=rng.uniform(0.12, 0.3))
    choice = rng.random()
    if choice < 0.3:
        brick = pick(rng, (srgb(160, 90, 68), srgb(205, 196, 184), srgb(140, 106, 84)))
        return walls, Material(textures.bricks, brick, srgb(190, 184, 174), scale=0.24)
    if choice < 0.6:
        return walls, Material(textures.painted_wall, pick(rng, _FABRICS + _PALE), baseboard)
    return walls, walls


def _random_ceiling(rng: np.random.Generator) -> Material:
    if rng.random() < 0.4:
        return Material(textures.tiles, srgb(236, 235, 230), srgb(170, 170, 168), scale=0.6)
    return Material(textures.plain, pick(rng, (srgb(240, 239, 235), srgb(232, 226, 214))))
