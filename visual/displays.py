"""How the maps of a task are shown: as arrays, and as images for people."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from utils.tasks import IGNORE_LABEL
from visual.color_scale import ColorScale
from visual.drawing import Colors, legend
from visual.own_size import rows_at_own_size


class DisplaySettings(NamedTuple):
    """What the visualization of maps depends on: their meaning and the class colors.

    Attributes:
        class_names, class_colours: of the K semantic classes; colors are 8-bit RGB.
        depth_unit: unit of depth, in words.
        normal_frame: "camera" or "world".
    """

    class_names: tuple[str, ...]
    class_colours: Colors
    depth_unit: str
    normal_frame: str

    @classmethod
    def of(cls, settings: object) -> "DisplaySettings":
        """From the settings of a network, or any object with these attributes."""
        return cls(*(getattr(settings, name) for name in cls._fields))


# What a file holds of a map, given the map, the settings and the image (H, W, 3) uint8 that it belongs to: an array or,
# for .json, plain data.
Encoding = Callable[[np.ndarray, DisplaySettings, np.ndarray], np.ndarray | list]


class ValueMap(NamedTuple):
    """A map as small integers, for a viewer that shows the value under the pointer.

    Attributes:
        values: (H, W) or (H, W, 3), of 8 or 16 bits.
        step: the quantity that an integer of 1 stands for.
        unit: of the value, or empty.
        classes: name and color (8-bit RGB) of each value, if the values are classes.
    """

    values: np.ndarray
    step: float = 1
    unit: str = ""
    classes: tuple[tuple[str, tuple[int, int, int]], ...] = ()


class Display(ABC):
    """Visualization of a task's maps.

    Attributes:
        map_name: their name in results and files.
        caption: of their images.
        files: of a map: from the ending of the name to what the file holds.
        error_marks: what the colors of the images of errors say.
    """

    map_name: ClassVar[str]
    caption: ClassVar[str]
    files: ClassVar[Mapping[str, Encoding]]
    error_marks: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        """A prediction, such as (., H, W), as a map."""

    @abstractmethod
    def as_map_at(self, prediction: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int]) -> np.ndarray:
        """A prediction as a map of an image that was padded and resized for it.

        Args:
            prediction: for the padded and resized image.
            size: (H, W) of the image, the upper left part of the padded one.
            padded_size: of the latter, before it was resized.
        """

    @abstractmethod
    def target_map(self, batch: dict, i: int) -> np.ndarray:
        """The ground truth of sample i of a batch as a map; missing values are marked, see `marks`."""

    @abstractmethod
    def draw(
        self, rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None
    ) -> np.ndarray:
        """Color image (H, W, 3) uint8 of a map, in the colors of a scale; None: that of this map.

        Args:
            rgb: (H, W, 3) uint8, the image that the map belongs to.
        """

    @abstractmethod
    def draw_error(self, rgb: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Color image (H, W, 3) uint8 of the error of a map, given the image that it belongs to."""

    @abstractmethod
    def shrunk(self, values: np.ndarray, step: int) -> np.ndarray:
        """The map of an image of which only every `step`-th row and column is left."""

    @abstractmethod
    def meaning(self, settings: DisplaySettings) -> dict:
        """The meaning of the values of a map and of its encoded `files`, as plain data."""

    def classes(self, maps: tuple[np.ndarray, ...]) -> list[int]:
        """The classes that occur in some maps, the most frequent first; their colors need a legend."""
        return []

    def scale(self, maps: tuple[np.ndarray, ...], settings: DisplaySettings) -> ColorScale | None:
        """The color scale that some maps share, if there is one."""
        return None

    def error_scale(self, settings: DisplaySettings) -> ColorScale | None:
        """The color scale of `draw_error`, if there is one."""
        return None

    @abstractmethod
    def marks(self, values: np.ndarray, settings: DisplaySettings) -> list[str]:
        """What is said about missing values, if there are any in a map."""


class PixelDisplay(Display):
    """Visualization of maps with a value at each pixel, (H, W) or (H, W, .), whose images show nothing else.

    Attributes:
        missing: the value in results of pixels that an image does not show.
    """

    missing: ClassVar[int] = 0

    @property
    def title(self) -> str:
        """What the map shows, in a word."""
        return self.caption.partition(":")[0]

    def as_map_at(self, prediction: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int]) -> np.ndarray:
        """Interpolated, if not of that size already."""
        if size == padded_size == prediction.shape[-2:]:
            return self.as_map(prediction)
        chunks = rows_at_own_size(prediction, size, padded_size)
        return np.concatenate([self.as_map(self.interpolated(rows)) for rows in chunks])

    def interpolated(self, values: torch.Tensor) -> torch.Tensor:
        """A prediction (., H, W), of means of predictions."""
        return values

    @abstractmethod
    def colorize(self, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None) -> np.ndarray:
        """Color image (H, W, 3) uint8 of a map, in the colors of a scale; None: that of this map."""

    def draw(
        self, rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None
    ) -> np.ndarray:
        return self.colorize(values, settings, scale)

    @abstractmethod
    def colorize_error(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Color image (H, W, 3) uint8 of the error of a map; ground truth that does not count is marked as itself."""

    def draw_error(self, rgb: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return self.colorize_error(prediction, target)

    @abstractmethod
    def error_summary(self, prediction: np.ndarray, target: np.ndarray) -> str:
        """The error of a map over the pixels with ground truth, in words."""

    @abstractmethod
    def value_map(self, values: np.ndarray, settings: DisplaySettings) -> ValueMap:
        """A predicted map as integers, for a viewer."""

    def shrunk(self, values: np.ndarray, step: int) -> np.ndarray:
        return np.ascontiguousarray(values[::step, ::step])

    def marks(self, values: np.ndarray, settings: DisplaySettings) -> list[str]:
        missing = np.isnan(values) if values.dtype.kind == "f" else values == IGNORE_LABEL
        return ["black: missing"] if missing.any() else []


def class_legend(classes: list[int], settings: DisplaySettings, width: int) -> np.ndarray:
    """Names of classes on their colors, (any, width, 3)."""
    names, colors = ([of_all[i] for i in classes] for of_all in (settings.class_names, settings.class_colours))
    return legend(names, colors, width)
