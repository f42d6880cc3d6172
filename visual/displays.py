"""Displays: conversion of predictions and ground truth of a task to maps, files and images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from utils.tasks import IGNORE_LABEL
from visual.color_scale import ColorScale
from visual.drawing import Colors, legend
from visual.original_size import rows_at_original_size


class DisplaySettings(NamedTuple):
    """Settings of visualizations: the meaning of maps, and class colors.

    Attributes:
        class_names, class_colours: names and 8-bit RGB colors of the K semantic classes.
        depth_unit: unit of depth, in words.
        normal_frame: "camera" or "world".
    """

    class_names: tuple[str, ...]
    class_colours: Colors
    depth_unit: str
    normal_frame: str

    @classmethod
    def of(cls, settings: object) -> "DisplaySettings":
        """Settings from any object with these attributes, such as the settings of a network."""
        return cls(*(getattr(settings, name) for name in cls._fields))


# Returns the content of a file (an array or, for .json, plain data), given a map, the settings and the RGB image
# (H, W, 3) uint8.
Encoding = Callable[[np.ndarray, DisplaySettings, np.ndarray], np.ndarray | list]


class ValueMap(NamedTuple):
    """A map as integers, for a viewer that shows the value under the pointer.

    Attributes:
        values: (H, W) or (H, W, 3), 8- or 16-bit integers.
        step: quantity per integer step.
        unit: unit of the quantity, or empty.
        classes: name and 8-bit RGB color of each value, if the values are classes.
    """

    values: np.ndarray
    step: float = 1
    unit: str = ""
    classes: tuple[tuple[str, tuple[int, int, int]], ...] = ()


class Display(ABC):
    """Visualization of a task's maps.

    Attributes:
        map_name: name of the maps in results and files.
        caption: caption of the images.
        files: encodings of a map by the suffix of the file name.
        error_marks: legend of the colors in error images.
    """

    map_name: ClassVar[str]
    caption: ClassVar[str]
    files: ClassVar[Mapping[str, Encoding]]
    error_marks: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        """Convert a prediction, such as (., H, W), to a map."""

    @abstractmethod
    def as_map_at(self, prediction: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int]) -> np.ndarray:
        """Convert the prediction for a padded and resized image to a map at the size of the original image.

        Args:
            prediction: prediction for the padded and resized image.
            size: (H, W) of the original image, the upper left part of the padded image.
            padded_size: (H, W) of the padded image before resizing.
        """

    @abstractmethod
    def target_map(self, batch: dict, i: int) -> np.ndarray:
        """The ground truth of sample i of a batch as a map; missing values are marked, see `marks`."""

    @abstractmethod
    def draw(
        self, rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None
    ) -> np.ndarray:
        """Draw a map as an image (H, W, 3) uint8.

        Args:
            rgb: the RGB image of the map, (H, W, 3) uint8.
            values: the map.
            settings: display settings.
            scale: color scale; None: the scale of this map.
        """

    @abstractmethod
    def draw_error(self, rgb: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Draw the error of a map as an image (H, W, 3) uint8, given the RGB image."""

    @abstractmethod
    def shrunk(self, values: np.ndarray, step: int) -> np.ndarray:
        """The map of an image reduced to every `step`-th row and column."""

    @abstractmethod
    def meaning(self, settings: DisplaySettings) -> dict:
        """Meaning of the values of a map and of its `files`, as plain data."""

    def classes(self, maps: tuple[np.ndarray, ...]) -> list[int]:
        """Classes in these maps for the legend, most frequent first."""
        return []

    def scale(self, maps: tuple[np.ndarray, ...], settings: DisplaySettings) -> ColorScale | None:
        """A common color scale for these maps, if they have one."""
        return None

    def error_scale(self, settings: DisplaySettings) -> ColorScale | None:
        """The color scale of `draw_error`, if it has one."""
        return None

    @abstractmethod
    def marks(self, values: np.ndarray, settings: DisplaySettings) -> list[str]:
        """Legend of the special values in a map, such as missing ones."""


class PixelDisplay(Display):
    """Visualization of maps with a value for each pixel, (H, W) or (H, W, .).

    Attributes:
        missing: value, in result files, of pixels that the input image does not show.
    """

    missing: ClassVar[int] = 0

    @property
    def title(self) -> str:
        """Short name: the first part of the caption."""
        return self.caption.partition(":")[0]

    def as_map_at(self, prediction: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int]) -> np.ndarray:
        """See `Display.as_map_at`; interpolated unless it already has this size."""
        if size == padded_size == prediction.shape[-2:]:
            return self.as_map(prediction)
        chunks = rows_at_original_size(prediction, size, padded_size)
        return np.concatenate([self.as_map(self.interpolated(rows)) for rows in chunks])

    def interpolated(self, values: torch.Tensor) -> torch.Tensor:
        """Convert interpolated values (., H, W) to a valid prediction."""
        return values

    @abstractmethod
    def colorize(self, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None) -> np.ndarray:
        """Color image (H, W, 3) uint8 of a map; without a color scale, that of this map is used."""

    def draw(
        self, rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None
    ) -> np.ndarray:
        return self.colorize(values, settings, scale)

    @abstractmethod
    def colorize_error(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Color image (H, W, 3) uint8 of the error of a map; missing ground truth keeps its color."""

    def draw_error(self, rgb: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return self.colorize_error(prediction, target)

    @abstractmethod
    def error_summary(self, prediction: np.ndarray, target: np.ndarray) -> str:
        """Text with the error of a map over the pixels with ground truth."""

    @abstractmethod
    def value_map(self, values: np.ndarray, settings: DisplaySettings) -> ValueMap:
        """A predicted map as integers, for viewers."""

    def shrunk(self, values: np.ndarray, step: int) -> np.ndarray:
        return np.ascontiguousarray(values[::step, ::step])

    def marks(self, values: np.ndarray, settings: DisplaySettings) -> list[str]:
        missing = np.isnan(values) if values.dtype.kind == "f" else values == IGNORE_LABEL
        return ["black: missing"] if missing.any() else []


def class_legend(classes: list[int], settings: DisplaySettings, width: int) -> np.ndarray:
    """Legend (., width, 3) uint8 of these classes."""
    names, colors = settings.class_names, settings.class_colours
    return legend([names[i] for i in classes], [colors[i] for i in classes], width)
