"""How detections are shown: boxes drawn on the image."""

import cv2
import numpy as np
import torch

from utils.boxes import detect
from visual.color_scale import ColorScale
from visual.displays import Display, DisplaySettings, ValueMap
from visual.drawing import Colors, write_tag

FIELDS = ("class", "score", "x1", "y1", "x2", "y2")
SHOWN_SCORE = 0.3  # detections with lower scores are not drawn
MIN_IOU = 0.5  # of a right detection with an object of its class
_RIGHT, _WRONG, _MISSED = (40, 180, 60), (220, 40, 40), (60, 90, 230)  # RGB


class DetectionDisplay(Display):
    """Boxes (n, 6): class, score and the corners x1, y1, x2, y2 as fractions of width and height of the image.

    Args:
        size: of the images of the network, (H, W).
        softmax: see `utils.boxes.detect`.
    """

    map_name = "boxes"
    caption = "objects"

    def __init__(self, size: tuple[int, int], softmax: bool):
        self._size = size
        self._softmax = softmax

    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        """The detections, best first, of a prediction (A, 4 + C')."""
        [boxes], [scores], [labels] = detect(prediction[None], self._size, self._softmax)
        rows = torch.cat([labels[:, None].float(), scores[:, None].float(), boxes.float()], dim=1)
        return rows[labels > 0].cpu().numpy()

    def target_map(self, batch: dict, i: int) -> np.ndarray:
        boxes = batch["boxes"][i].cpu().numpy()
        boxes = boxes[boxes[:, 4] > 0]
        return np.concatenate([boxes[:, 4:], np.ones_like(boxes[:, 4:]), boxes[:, :4]], axis=1)

    def colorize(self, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None) -> np.ndarray:
        return self.draw(np.zeros((*self._size, 3), np.uint8), values, settings)

    def draw(
        self, rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None
    ) -> np.ndarray:
        """The image (H, W, 3) uint8 with the boxes whose score is SHOWN_SCORE or more, the best on top."""
        shown = _shown(values)
        names = [f"{settings.class_names[int(row[0])]} {row[1]:.2f}" for row in shown]
        return draw_boxes(rgb, shown[:, 2:], [settings.class_colours[int(row[0])] for row in shown], names)

    def draw_error(self, rgb: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Right detections in green, wrong ones in red, missed objects in blue."""
        shown = _shown(prediction)
        fits = (_iou(shown[:, 2:], target[:, 2:]) > MIN_IOU) & (shown[:, :1] == target[:, 0])  # (n, m)
        missed = target[~fits.any(axis=0)]
        colors = [_RIGHT if right else _WRONG for right in fits.any(axis=1)] + [_MISSED] * len(missed)
        return draw_boxes(rgb, np.concatenate([shown, missed])[:, 2:], colors)

    def colorize_error(self, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        return self.draw_error(np.zeros((*self._size, 3), np.uint8), prediction, target)

    def error_summary(self, prediction: np.ndarray, target: np.ndarray) -> str:
        shown = _shown(prediction)
        fits = (_iou(shown[:, 2:], target[:, 2:]) > MIN_IOU) & (shown[:, :1] == target[:, 0])
        return f"{fits.any(axis=0).sum()} of {len(target)} objects found"

    def value_map(self, values: np.ndarray, settings: DisplaySettings) -> ValueMap:
        raise NotImplementedError("boxes have no value at each pixel")

    @property
    def files(self) -> dict:
        return {}

    def meaning(self, settings: DisplaySettings) -> dict:
        return {"unit": "corners as fractions of the width and height of the image", "fields": FIELDS}

    def marks(self, values: np.ndarray, settings: DisplaySettings) -> list[str]:
        return []


def draw_boxes(rgb: np.ndarray, boxes: np.ndarray, colors: Colors, names: list[str] | None = None) -> np.ndarray:
    """An image (H, W, 3) uint8 with boxes (n, 4), of which earlier ones cover later ones, and their names."""
    image = np.ascontiguousarray(rgb).copy()
    height, width = image.shape[:2]
    corners = np.rint(boxes.clip(0, 1) * (width - 1, height - 1, width - 1, height - 1)).astype(int).tolist()
    names = names or [""] * len(corners)
    for (left, top, right, bottom), color, name in reversed(list(zip(corners, colors, names, strict=True))):
        cv2.rectangle(image, (left, top), (right, bottom), color, thickness=2)
        if name:
            write_tag(image, name, (left, top), color)
    return image


def _shown(values: np.ndarray) -> np.ndarray:
    return values[values[:, 1] >= SHOWN_SCORE]


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = (high - low).clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    return intersection / np.maximum(areas[0][:, None] + areas[1][None] - intersection, 1e-12)
