"""Displays of depth, normals and labels."""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from utils.tasks import IGNORE_LABEL, MAX_DEPTH, NO_LABEL
from visual.color_scale import ColorScale, depth_scale
from visual.displays import DisplaySettings, PixelDisplay, ValueMap, class_legend
from visual.drawing import label_colors, normal_colors, scale_colors, unit_symbol

MAX_DEPTH_ERROR = 2.0  # meters: end of the color scale
MAX_ANGLE_ERROR = 90.0  # degrees: end of the color scale

_CORRECT, _WRONG = (225, 225, 225), (220, 40, 40)  # RGB


class DepthDisplay(PixelDisplay):
    """Depth (H, W) in meters along the ray; NaN where missing, infinite beyond MAX_DEPTH."""

    map_name = "depth"
    caption = "depth"
    files: ClassVar = {
        "depth.npy": lambda values, settings, rgb: values,
        "depth.png": lambda values, settings, rgb: _thousandths(values),
    }

    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        return prediction[0].float().cpu().numpy()

    def target_map(self, batch: dict, i: int) -> np.ndarray:
        depth, invalid = batch["depth"][i], ~batch["depth_mask"][i]
        beyond = invalid & (depth >= MAX_DEPTH)
        return self.as_map(depth.masked_fill(invalid, torch.nan).masked_fill(beyond, torch.inf))

    def colorize(self, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None) -> np.ndarray:
        return scale_colors(values, scale or self.scale((values,), settings))

    def value_map(self, values: np.ndarray, settings: DisplaySettings) -> ValueMap:
        return ValueMap(_thousandths(values), 0.001, unit_symbol(settings.depth_unit))

    def colorize_error(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return scale_colors(np.abs(prediction - target), ColorScale(0, MAX_DEPTH_ERROR, ""))

    def error_summary(self, prediction: np.ndarray, target: np.ndarray) -> str:
        error = np.abs(prediction - target)
        return f"mean error {error[np.isfinite(error)].mean():.2f} m"

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


class NormalDisplay(PixelDisplay):
    """Unit normals (H, W, 3), NaN where missing."""

    map_name = "normal"
    caption = "normals: x red, y green, z blue"
    files: ClassVar = {
        "normal.npy": lambda values, settings, rgb: values,
        "normal.png": lambda values, settings, rgb: normal_colors(np.nan_to_num(values)),
    }

    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        return prediction.float().permute(1, 2, 0).cpu().numpy()

    def interpolated(self, values: torch.Tensor) -> torch.Tensor:
        return F.normalize(values, dim=0)

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

    def meaning(self, settings: DisplaySettings) -> dict:
        return {
            "unit": "unit vectors that point to the camera",
            "frame": settings.normal_frame,
            "normal.png": "8 bits, x, y and z from -1..1 to red, green and blue 0..255",
        }

    def error_scale(self, settings: DisplaySettings) -> ColorScale:
        return ColorScale(0, MAX_ANGLE_ERROR, "deg")


class LabelDisplay(PixelDisplay):
    """Class labels (H, W), -1 = ignore."""

    map_name = "labels"
    caption = "semantics"
    missing = NO_LABEL
    files: ClassVar = {
        "labels.png": lambda values, settings, rgb: values,
        "labels_colour.png": lambda values, settings, rgb: _colors_and_legend(values, settings),
    }

    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        """Convert logits (K, H, W) or labels (1, H, W) to a map."""
        labels = prediction.argmax(dim=0) if prediction.is_floating_point() else prediction[0]
        return labels.to(torch.uint8).cpu().numpy()

    def target_map(self, batch: dict, i: int) -> np.ndarray:
        return batch["semantic"][i].cpu().numpy()

    def colorize(self, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None) -> np.ndarray:
        return label_colors(values, settings.class_colours)

    def value_map(self, values: np.ndarray, settings: DisplaySettings) -> ValueMap:
        return ValueMap(values, classes=tuple(zip(settings.class_names, settings.class_colours, strict=True)))

    def meaning(self, settings: DisplaySettings) -> dict:
        classes = zip(settings.class_names, settings.class_colours, strict=True)
        return {
            "unit": "indices into the classes; their colours are #RRGGBB",
            "classes": [
                {"label": i, "name": name, "colour": "#" + bytes(color).hex()}
                for i, (name, color) in enumerate(classes)
            ],
        }

    def classes(self, maps: tuple[np.ndarray, ...]) -> list[int]:
        return occurring_classes(maps)

    def colorize_error(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        error = np.where((prediction != target)[..., None], _WRONG, _CORRECT).astype(np.uint8)
        error[target == IGNORE_LABEL] = 0
        return error

    def error_summary(self, prediction: np.ndarray, target: np.ndarray) -> str:
        return f"{100 * (prediction != target)[target != IGNORE_LABEL].mean():.0f} % of the pixels wrong"


def occurring_classes(maps: tuple[np.ndarray, ...]) -> list[int]:
    """The labels in these label maps, most frequent first, without IGNORE_LABEL and NO_LABEL."""
    labels, counts = np.unique(np.concatenate([labels.ravel() for labels in maps]), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [int(label) for label in labels[order] if label not in (IGNORE_LABEL, NO_LABEL)]


def _angles(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Angles (H, W) in degrees between unit vectors (H, W, 3)."""
    return np.degrees(np.arccos(np.clip((prediction * target).sum(-1), -1, 1)))


def _colors_and_legend(labels: np.ndarray, settings: DisplaySettings) -> np.ndarray:
    image = label_colors(labels, settings.class_colours)
    return np.vstack([image, class_legend(occurring_classes((labels,)), settings, image.shape[1])])


def _thousandths(depth: np.ndarray) -> np.ndarray:
    """Depth in thousandths as 16-bit integers, 0 where missing."""
    finite = np.nan_to_num(depth, nan=0, posinf=0, neginf=0)
    return np.rint(finite * 1000).clip(0, 65535).astype(np.uint16)
