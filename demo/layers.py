"""Data of the viewer in the browser: images and values of all maps, as text."""

import base64

import cv2
import numpy as np

from demo.examples import GroundTruth
from networks.saved_network import UNKNOWN_DATASET, NetworkSettings, find_mismatches
from prediction import PanoramaPrediction
from tasks import TASKS
from visual.color_scale import ColorScale
from visual.displays import DisplaySettings, PixelDisplay, ValueMap
from visual.drawing import data_url, encode_image, scale_colors

_RGB_HEIGHT = 1024  # maximum in pixels, about the resolution of a screen
_SCALE_COLORS = 256


def layers(
    title: str, rgb: np.ndarray, prediction: PanoramaPrediction, ground_truth: GroundTruth | None = None
) -> dict:
    """The data of demo/web/viewer.js, ready for JSON: a layer for the panorama and one per task.

    Args:
        title: of the panorama.
        rgb: (H, W, 3) uint8, the panorama at any size.
        prediction: of the panorama.
        ground_truth: at the size of the prediction; None if unknown.
    """
    height, width = prediction.rgb.shape[:2]
    settings = DisplaySettings.of(prediction.settings)
    comparable = _comparable_tasks(prediction.settings, ground_truth)
    maps = []
    for task, values in prediction.maps().items():
        display = TASKS[task].display
        layer = {**_layer(display, values, settings), "seam": prediction.seam.get(task)}
        if task in comparable:
            layer["error"] = _error(display, values, display.target_map(ground_truth.batch, 0), settings)
        maps.append(layer)
    return {"title": title, "height": height, "width": width, "layers": [_rgb_layer(rgb), *maps]}


def _rgb_layer(rgb: np.ndarray) -> dict:
    if len(rgb) > _RGB_HEIGHT:
        rgb = cv2.resize(rgb, (2 * _RGB_HEIGHT, _RGB_HEIGHT), interpolation=cv2.INTER_AREA)
    return {"name": "RGB", "title": "RGB", "caption": "RGB", "image": _data_url(rgb, "jpeg")}


def _layer(display: PixelDisplay, values: np.ndarray, settings: DisplaySettings) -> dict:
    value_map = display.value_map(values, settings)
    scale = display.scale((values,), settings)
    layer = {
        "name": display.map_name,
        "title": display.title,
        "caption": display.caption,
        "image": _data_url(display.colorize(values, settings, scale), "png"),
        "value_map": _encode(value_map),
    }
    if value_map.classes:
        layer["legend"] = [(name, f"rgb{color}") for name, color in value_map.classes]
    if scale:
        layer["scale"] = _scale(scale)
    return layer


def _scale(scale: ColorScale) -> dict:
    colors = scale_colors(np.linspace(scale.low, scale.high, _SCALE_COLORS, dtype=np.float32)[None], scale)
    return {**scale._asdict(), "image": _data_url(colors, "png")}


def _error(display: PixelDisplay, values: np.ndarray, target: np.ndarray, settings: DisplaySettings) -> dict:
    """The error of a map, in words and as an image."""
    error = {
        "summary": display.error_summary(values, target),
        "image": _data_url(display.colorize_error(values, target), "png"),
    }
    if scale := display.error_scale(settings):
        error["scale"] = _scale(scale)
    return error


def _comparable_tasks(settings: NetworkSettings, ground_truth: GroundTruth | None) -> tuple[str, ...]:
    """The tasks whose predictions are known to have the same meaning as the ground truth."""
    if ground_truth is None or settings.dataset == UNKNOWN_DATASET:
        return ()
    mismatches = find_mismatches(settings, ground_truth.meaning, settings.tasks)
    return tuple(task for task in settings.tasks if task not in mismatches)


def _encode(value_map: ValueMap) -> dict:
    little_endian = value_map.values.astype(value_map.values.dtype.newbyteorder("<"))
    return {
        "type": value_map.values.dtype.name,
        "data": base64.b64encode(little_endian.tobytes()).decode("ascii"),
        "step": value_map.step,
        "unit": value_map.unit,
    }


def _data_url(image: np.ndarray, kind: str) -> str:
    """An RGB image (H, W, 3) uint8 as a data URL."""
    return data_url(encode_image(image, f".{kind}"))
