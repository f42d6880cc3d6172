"""How the maps of each task are shown: as arrays, and as images for people."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from utils.tasks import IGNORE_LABEL, MAX_DEPTH, NO_LABEL
from visual.color_scale import ColorScale, depth_scale
from visual.drawing import Colors, label_colors, legend, normal_colors, scale_colors, unit_symbol

MAX_DEPTH_ERROR = 2.0  # meters: maximum of the color scale
MAX_ANGLE_ERROR = 90.0  # degrees: maximum of the color scale

_RIGHT, _WRONG = (225, 225, 225), (220, 40, 40)  # RGB


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


Encoding = Callable[[np.ndarray, DisplaySettings], np.ndarray]


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

    `map_name`: their name in results and files; `caption`: of their images; `missing`: the value in results of pixels
    that an image does not show.
    """

    map_name: str
    caption: str
    missing: int = 0

    @property
    def title(self) -> str:
        """What the map shows, in a word."""
        return self.caption.partition(":")[0]

    @abstractmethod
    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        """A prediction (., H, W) as a map; of semantics, logits or labels (1, H, W)."""

    @abstractmethod
    def target_map(self, batch: dict, i: int) -> np.ndarray:
        """The ground truth of sample i of a batch as a map; missing values are marked, see `marks`."""

    @abstractmethod
    def colorize(self, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None) -> np.ndarray:
        """Color image (H, W, 3) uint8 of a map, in the colors of a scale; None: that of this map."""

    def draw(
        self, rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None
    ) -> np.ndarray:
        """Color image (H, W, 3) uint8 of a map, given the image that it belongs to."""
        return self.colorize(values, settings, scale)

    def draw_error(self, rgb: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Color image (H, W, 3) uint8 of the error of a map, given the image that it belongs to."""
        return self.colorize_error(prediction, target)

    @abstractmethod
    def value_map(self, values: np.ndarray, settings: DisplaySettings) -> ValueMap:
        """A predicted map as integers, for a viewer."""

    @abstractmethod
    def colorize_error(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Color image (H, W, 3) uint8 of the error of a map; ground truth that does not count is marked as itself."""

    @abstractmethod
    def error_summary(self, prediction: np.ndarray, target: np.ndarray) -> str:
        """The error of a map over the pixels with ground truth, in words."""

    @property
    @abstractmethod
    def files(self) -> dict[str, Encoding]:
        """The files of a map: from the ending of the name to the encoding of the map."""

    @abstractmethod
    def meaning(self, settings: DisplaySettings) -> dict:
        """The meaning of the values of a map and of its encoded `files`, as plain data."""

    def legend(self, maps: tuple[np.ndarray, ...], settings: DisplaySettings, width: int) -> np.ndarray | None:
        """Legend of the colors that occur in some maps (any, width, 3), if there is one."""
        return None

    def scale(self, maps: tuple[np.ndarray, ...], settings: DisplaySettings) -> ColorScale | None:
        """The color scale that some maps share, if there is one."""
        return None

    def error_scale(self, settings: DisplaySettings) -> ColorScale | None:
        """The color scale of `colorize_error`, if there is one."""
        return None

    def marks(self, values: np.ndarray, settings: DisplaySettings) -> list[str]:
        """What the colors of pixels without a valid value say, if there are any in a map."""
        missing = np.isnan(values) if values.dtype.kind == "f" else values == IGNORE_LABEL
        return ["black: missing"] if missing.any() else []


class DepthDisplay(Display):
    """Depth (H, W) in meters along the ray, NaN where missing, infinite where it is beyond MAX_DEPTH."""

    map_name = "depth"
    caption = "depth"

    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        return prediction[0].float().cpu().numpy()

    def target_map(self, batch: dict, i: int) -> np.ndarray:
        depth, invalid = batch["depth"][i], ~batch["depth_mask"][i]
        beyond = invalid & (depth >= MAX_DEPTH)
        return self.as_map(depth.masked_fill(invalid, torch.nan).masked_fill(beyond, torch.inf))

    def colorize(self, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None) -> np.ndarray:
        return scale_colors(values, scale or self.scale((values,), settings))

    def value_map(self, values: np.ndarray, settings: DisplaySettings) -> ValueMap:
        return ValueMap(_thousandths(values, settings), 0.001, unit_symbol(settings.depth_unit))

    def colorize_error(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return scale_colors(np.abs(prediction - target), ColorScale(0, MAX_DEPTH_ERROR, ""))

    def error_summary(self, prediction: np.ndarray, target: np.ndarray) -> str:
        error = np.abs(prediction - target)
        return f"mean error {error[np.isfinite(error)].mean():.2f} m"

    @property
    def files(self) -> dict[str, Encoding]:
        return {"depth.npy": _as_it_is, "depth.png": _thousandths}

    def meaning(self, settings: DisplaySettings) -> dict:
        thousandths = "millimetres" if unit_symbol(settings.depth_unit) else "thousandths of the unit"
        return {"unit": settings.depth_unit, "depth.png": f"16 bits, {thousandths}"}

    def scale(self, maps: tuple[np.ndarray, ...], settings: DisplaySettings) -> ColorScale:
        return depth_scale(maps, unit_symbol(settings.depth_unit))

    def error_scale(self, settings: DisplaySettings) -> ColorScale:
        return ColorScale(0, MAX_DEPTH_ERROR, unit_symbol(settings.depth_unit))

    def marks(self, values: np.ndarray, settings: DisplaySettings) -> list[str]:
        beyond = f"white: above {MAX_DEPTH:g} {unit_symbol(settings.depth_unit)}".rstrip()
        return [*super().marks(values, settings), *([beyond] if np.isposinf(values).any() else [])]


class NormalDisplay(Display):
    """Unit normals (H, W, 3), NaN where missing."""

    map_name = "normal"
    caption = "normals: x red, y green, z blue"

    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        return prediction.float().permute(1, 2, 0).cpu().numpy()

    def target_map(self, batch: dict, i: int) -> np.ndarray:
        return self.as_map(batch["normal"][i].masked_fill(~batch["normal_mask"][i], torch.nan))

    def colorize(self, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None) -> np.ndarray:
        return normal_colors(np.nan_to_num(values))

    def value_map(self, values: np.ndarray, settings: DisplaySettings) -> ValueMap:
        return ValueMap(np.rint(values * 127).astype(np.int8), 1 / 127)

    def colorize_error(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return scale_colors(_angles(prediction, target), ColorScale(0, MAX_ANGLE_ERROR, ""))

    def error_summary(self, prediction: np.ndarray, target: np.ndarray) -> str:
        return f"mean error {np.nanmean(_angles(prediction, target)):.1f}°"

    @property
    def files(self) -> dict[str, Encoding]:
        return {"normal.npy": _as_it_is, "normal.png": self.colorize}

    def meaning(self, settings: DisplaySettings) -> dict:
        return {
            "unit": "unit vectors that point to the camera",
            "frame": settings.normal_frame,
            "normal.png": "8 bits, x, y and z from -1..1 to red, green and blue 0..255",
        }

    def error_scale(self, settings: DisplaySettings) -> ColorScale:
        return ColorScale(0, MAX_ANGLE_ERROR, "deg")


class LabelDisplay(Display):
    """Class labels (H, W), -1 to ignore."""

    map_name = "labels"
    caption = "semantics"
    missing = NO_LABEL

    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        labels = prediction.argmax(dim=0) if prediction.is_floating_point() else prediction[0]
        return labels.to(torch.uint8).cpu().numpy()

    def target_map(self, batch: dict, i: int) -> np.ndarray:
        return batch["semantic"][i].cpu().numpy()

    def colorize(self, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None) -> np.ndarray:
        return label_colors(values, settings.class_colours)

    def value_map(self, values: np.ndarray, settings: DisplaySettings) -> ValueMap:
        return ValueMap(values, classes=tuple(zip(settings.class_names, settings.class_colours, strict=True)))

    @property
    def files(self) -> dict[str, Encoding]:
        return {"labels.png": _as_it_is, "labels_colour.png": self._colorize_with_legend}

    def meaning(self, settings: DisplaySettings) -> dict:
        classes = zip(settings.class_names, settings.class_colours, strict=True)
        return {
            "unit": "indices into the classes; their colours are #RRGGBB",
            "classes": [
                {"label": i, "name": name, "colour": "#" + bytes(color).hex()}
                for i, (name, color) in enumerate(classes)
            ],
        }

    def legend(self, maps: tuple[np.ndarray, ...], settings: DisplaySettings, width: int) -> np.ndarray:
        classes = occurring_classes(maps)
        names, colors = ([of_all[i] for i in classes] for of_all in (settings.class_names, settings.class_colours))
        return legend(names, colors, width)

    def _colorize_with_legend(self, values: np.ndarray, settings: DisplaySettings) -> np.ndarray:
        image = self.colorize(values, settings)
        return np.vstack([image, self.legend((values,), settings, image.shape[1])])

    def colorize_error(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        error = np.where((prediction != target)[..., None], _WRONG, _RIGHT).astype(np.uint8)
        error[target == IGNORE_LABEL] = 0
        return error

    def error_summary(self, prediction: np.ndarray, target: np.ndarray) -> str:
        return f"{100 * (prediction != target)[target != IGNORE_LABEL].mean():.0f} % of the pixels wrong"


def occurring_classes(maps: tuple[np.ndarray, ...]) -> list[int]:
    """The labels in some label maps, the most frequent first, without IGNORE_LABEL and NO_LABEL."""
    labels, counts = np.unique(np.concatenate([labels.ravel() for labels in maps]), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [int(label) for label in labels[order] if label not in (IGNORE_LABEL, NO_LABEL)]


def _angles(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Angles (H, W) between unit vectors (H, W, 3) in degrees."""
    return np.degrees(np.arccos(np.clip((prediction * target).sum(-1), -1, 1)))


def _as_it_is(values: np.ndarray, settings: DisplaySettings) -> np.ndarray:
    return values


def _thousandths(depth: np.ndarray, settings: DisplaySettings) -> np.ndarray:
    """16-bit integers, 0 where there is no depth."""
    known = np.nan_to_num(depth, nan=0, posinf=0, neginf=0)
    return np.rint(known * 1000).clip(0, 65535).astype(np.uint16)
