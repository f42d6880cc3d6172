"""Example panoramas of the demo."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.panorama import resize_rgb
from datasets.synthetic import SyntheticRooms
from prediction.input_image import as_rgb

_DOCS = Path(__file__).parents[1] / "docs"
_ROOMS = (6, 4, 11)  # of the test split
_HEIGHT, _THUMBNAIL_HEIGHT = 512, 128  # pixels


class Example(NamedTuple):
    """A panorama to choose.

    Attributes:
        title: shown below it.
        read: from a height in pixels to the panorama (H, 2H, 3) uint8.
    """

    title: str
    read: Callable[[int], np.ndarray]

    def panorama(self) -> np.ndarray:
        """(512, 1024, 3) uint8."""
        return self.read(_HEIGHT)

    def thumbnail(self) -> np.ndarray:
        """(128, 256, 3) uint8."""
        return self.read(_THUMBNAIL_HEIGHT)


def examples() -> list[Example]:
    """The image of the README, and synthetic rooms, rendered on demand."""
    image = as_rgb(_DOCS / "example_room.png")
    return [
        Example("docs/example_room.png", lambda height: resize_rgb(image, height, 2 * height)),
        *(Example(f"test room {index}", _room_reader(index)) for index in _ROOMS),
    ]


def _room_reader(index: int) -> Callable[[int], np.ndarray]:
    return lambda height: SyntheticRooms("test", index + 1, height, 2 * height).read(index).rgb
