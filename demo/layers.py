"""Data for the viewer in the browser: image and values of every map, as text."""

import base64

import cv2
import numpy as np

from prediction import Prediction
from tasks import TASKS
from visual.displays import DisplaySettings, PixelDisplay, ValueMap
from visual.drawing import data_url, encode_image

_RGB_HEIGHT = 1024  # pixels at most, about the resolution of a screen
_SCALE_COLORS = 256


def layers(title: str, rgb: np.ndarray, prediction: Prediction) -> dict:
    """The data of demo/web/viewer.js, ready for JSON: a layer for the panorama and one per task.

    Args:
        title: of the panorama.
        rgb: (H, W, 3) uint8, the panorama at any size.
        prediction: made from it.
    """
    height, width = prediction.rgb.shape[:2]
    settings = DisplaySettings.of(prediction.settings)
    maps = [_layer(TASKS[task].display, values, settings) for task, values in prediction.maps().items()]
    return {"title": title, "height": height, "width": width, "layers": [_rgb_layer(rgb), *maps]}


def _rgb_layer(rgb: np.ndarray) -> dict:
    if len(rgb) > _RGB_HEIGHT:
        rgb = cv2.resize(rgb, (2 * _RGB_HEIGHT, _RGB_HEIGHT), interpolation=cv2.INTER_AREA)
    return {"name": "RGB", "caption": "RGB", "image": _data_url(rgb, "jpeg")}


def _layer(display: PixelDisplay, values: np.ndarray, settings: DisplaySettings) -> dict:
    value_map = display.value_map(values, settings)
    scale = display.scale((values,), settings)
    layer = {
        "name": display.map_name,
        "caption": display.caption,
        "image": _data_url(display.colorize(values, settings, scale), "png"),
        "value_map": _as_text(value_map),
    }
    if value_map.classes:
        layer["legend"] = [(name, f"rgb{color}") for name, color in value_map.classes]
    if scale:
        ramp = np.linspace(scale.low, scale.high, _SCALE_COLORS, dtype=np.float32)[None]
        colors = display.colorize(ramp, settings, scale)
        layer["scale"] = {**scale._asdict(), "image": _data_url(colors, "png")}
    return layer


def _as_text(value_map: ValueMap) -> dict:
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
