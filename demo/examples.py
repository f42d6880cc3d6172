"""Example panoramas of the demo."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import default_collate

from datasets.panorama import resize_rgb
from datasets.synthetic import SyntheticRooms
from prediction.input_image import as_rgb
from tasks.meaning import display_settings_of
from visual.displays import DisplaySettings

_DOCS = Path(__file__).parents[1] / "docs"
_ROOMS = (6, 4, 11)  # of the test split
_HEIGHT, _THUMBNAIL_HEIGHT = 512, 128  # pixels


class GroundTruth(NamedTuple):
    """The ground truth of a panorama: a batch of one dataset sample, and the meaning of its maps."""

    batch: dict
    meaning: DisplaySettings


class Example(NamedTuple):
    """An example panorama.

    Attributes:
        title: shown below it.
        read: height H in pixels -> panorama (H, 2H, 3) uint8.
        ground_truth: height H in pixels -> ground truth (H, 2H); None if unknown.
    """

    title: str
    read: Callable[[int], np.ndarray]
    ground_truth: Callable[[int], GroundTruth] | None = None

    def panorama(self) -> np.ndarray:
        """(512, 1024, 3) uint8."""
        return self.read(_HEIGHT)

    def thumbnail(self) -> np.ndarray:
        """(128, 256, 3) uint8."""
        return self.read(_THUMBNAIL_HEIGHT)


def examples() -> list[Example]:
    """The image of the README, and synthetic rooms that are rendered on demand."""
    image = as_rgb(_DOCS / "example_room.png")
    return [
        Example("docs/example_room.png", lambda height: resize_rgb(image, height, 2 * height)),
        *map(_test_room, _ROOMS),
    ]


def _test_room(index: int) -> Example:
    def rooms(height: int) -> SyntheticRooms:
        return SyntheticRooms("test", index + 1, height, 2 * height)

    def ground_truth(height: int) -> GroundTruth:
        dataset = rooms(height)
        return GroundTruth(default_collate([dataset[index]]), display_settings_of(dataset))

    return Example(f"test room {index}", lambda height: rooms(height).read(index).rgb, ground_truth)
