"""Where the results of each picture go."""

from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import NamedTuple


class Job(NamedTuple):
    """One picture to predict.

    Attributes:
        picture: the file.
        stem: results are written to STEM_depth.npy, STEM.json and so on.
    """

    picture: Path
    stem: Path

    def result(self, ending: str) -> Path:
        """The file of a result: STEM followed by an ending."""
        return self.stem.with_name(self.stem.name + ending)


def stems(pictures: list[Path], endings: Iterable[str]) -> dict[Path, Path]:
    """The path that each picture's results share, a mirror of its own without the suffix.

    Pictures whose results would clash keep the suffix, all of them, whatever their order: those whose names differ in
    nothing else but case, and those with a result of the name of a folder.

    Args:
        pictures: relative paths.
        endings: of all results that there may be.
    """
    folders = {folder for picture in pictures for folder in picture.parents if folder.name}
    taken = {
        folder.with_name(folder.name.removesuffix(ending))
        for folder, ending in product(map(_folded, folders), endings)
        if folder.name.endswith(ending) and folder.name != ending
    }
    with_suffix: set[Path] = set()
    while True:
        chosen = {picture: picture if picture in with_suffix else picture.with_suffix("") for picture in pictures}
        uses = Counter(_folded(stem) for stem in chosen.values())
        clashing = {
            picture
            for picture, stem in chosen.items()
            if picture not in with_suffix and (uses[_folded(stem)] > 1 or _folded(stem) in taken)
        }
        if not clashing:
            return chosen
        with_suffix |= clashing


def _folded(path: Path) -> Path:
    """As file systems that ignore case compare the names in a folder."""
    return path.with_name(path.name.casefold())
