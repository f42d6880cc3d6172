"""Panoramas stored as the six faces of a cube, in one image or in six files."""

import re
from pathlib import Path

import numpy as np

from datasets.panorama import resize_rgb
from prediction.naming import Job
from utils.errors import UserError
from utils.projection import cube_to_erp

LARGEST_FACE = 1024  # pixels; larger faces are shrunk, so that panoramas have at most 4096x2048

_NAMES = {"F": "front", "R": "right", "B": "back", "L": "left", "U": "up", "D": "down"}
_CROSSES = {(4, 3): (".U..", "LFRB", ".D.."), (3, 4): (".U.", "LFR", ".D.", ".B.")}  # by columns and rows
_GRIDS = ((6, 1), (1, 6), (3, 2))
# Endings of file names without suffix, in the order of _NAMES.
_SUFFIXES = (
    ("front", "right", "back", "left", "up", "down"),
    ("front", "right", "back", "left", "top", "bottom"),
    ("f", "r", "b", "l", "u", "d"),
    ("pz", "px", "nz", "nx", "py", "ny"),
)


def split_cubemap(rgb: np.ndarray, order: str, name: str | Path) -> dict[str, np.ndarray]:
    """Split one image (H, W, 3) into its faces, with the keys of `utils.projection.CUBE_FACES`.

    Args:
        rgb: a strip of 6x1 or 1x6 faces, a grid of 3x2, or a cross of 4x3 or 3x4 with the front in its center; in the
            tall cross, back is below down and upside down.
        order: the letters of the faces in a strip or grid, row by row.
        name: of the image, for the message.

    Raises:
        UserError: when the aspect ratio is of none of these.
    """
    height, width = rgb.shape[:2]
    for columns, rows in (*_CROSSES, *_GRIDS):
        if width * rows == height * columns and width % columns == 0:
            letters = _CROSSES.get((columns, rows)) or [order[i : i + columns] for i in range(0, 6, columns)]
            size = width // columns
            faces = {
                _NAMES[letter]: rgb[size * row : size * (row + 1), size * column : size * (column + 1)]
                for row, line in enumerate(letters)
                for column, letter in enumerate(line)
                if letter != "."
            }
            if (columns, rows) == (3, 4):
                faces["back"] = faces["back"][::-1, ::-1]
            return faces
    raise UserError(
        f"--cubemap: {name} is {width}x{height}: pass a cross of 4x3 or 3x4 faces, a strip of 6x1 or 1x6, a grid of "
        "3x2, or six square files NAME_front, NAME_right, NAME_back, NAME_left, NAME_up and NAME_down"
    )


def cubemap_as_panorama(faces: dict[str, np.ndarray]) -> np.ndarray:
    """The panorama (2 s, 4 s, 3) uint8 of the six faces (s, s, 3) of a cube, see `split_cubemap`."""
    size = min(len(faces["front"]), LARGEST_FACE)
    return cube_to_erp({name: resize_rgb(face, size, size) for name, face in faces.items()}, 2 * size)


def face_files(front: Path) -> dict[str, Path] | None:
    """The files of all six faces, given the front; None if its name has no such ending, or a face is missing."""
    for suffixes in _SUFFIXES:
        if match := _face(front, suffixes[0]):
            paths = [front.with_name(_renamed(front, match, suffix)) for suffix in suffixes]
            if all(path.is_file() for path in paths):
                return dict(zip(_NAMES.values(), paths, strict=True))
    return None


def only_fronts(jobs: list[Job]) -> list[Job]:
    """The jobs without those whose images are other faces of a front among them."""
    others = {path for job in jobs for path in list((face_files(job.image) or {}).values())[1:]}
    return [job for job in jobs if job.image not in others]


def _face(path: Path, suffix: str) -> re.Match | None:
    return re.search(rf"(?:^|[-_. ])({suffix})$", path.stem, flags=re.IGNORECASE)


def _renamed(path: Path, match: re.Match, suffix: str) -> str:
    """The file name of another face, with the same capitalization."""
    matched = match[1]
    cased = suffix.upper() if matched.isupper() else suffix.capitalize() if matched[0].isupper() else suffix
    return path.stem[: match.start(1)] + cased + path.suffix
