"""Names of the results of each image."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Job(NamedTuple):
    """One image to predict.

    Attributes:
        image: the input file.
        stem: results are written to STEM_depth.npy, STEM.json and so on.
        frame: number of the frame of a video, counted from 1; None for images.
    """

    image: Path
    stem: Path
    frame: int | None = None

    def result(self, ending: str) -> Path:
        """The result file with this ending."""
        return self.stem.with_name(self.stem.name + ending)


def stems(images: list[Path], endings: Iterable[str]) -> dict[Path, Path]:
    """The stem of the results of each image: its path without the suffix.

    Images keep their suffix if their results would otherwise clash with those of other images (ignoring case) or with
    the name of a folder. The order of the images does not matter.

    Args:
        images: relative paths.
        endings: of all possible result files.
    """
    endings = tuple(endings)
    folders = {_folded(folder) for image in images for folder in image.parents if folder.name}
    with_suffix: set[Path] = set()
    while True:
        chosen = {image: image if image in with_suffix else image.with_suffix("") for image in images}
        results = {
            image: [_folded(Job(image, stem).result(ending)) for ending in endings] for image, stem in chosen.items()
        }
        uses = Counter(path for paths in results.values() for path in paths)
        clashing = {
            image
            for image, paths in results.items()
            if image not in with_suffix and any(uses[path] > 1 or path in folders for path in paths)
        }
        if not clashing:
            return chosen
        with_suffix |= clashing


def _folded(path: Path) -> Path:
    """The path as compared by case-insensitive file systems."""
    return path.with_name(path.name.casefold())
