"""Display of detections: boxes drawn on the image."""

from typing import ClassVar

import cv2
import numpy as np
import torch

from utils.boxes import detect, paired_iou
from utils.padding import padded_size
from visual.color_scale import ColorScale
from visual.displays import Display, DisplaySettings
from visual.drawing import TAG_HEIGHT, Colors, enlargement, write_tag

FIELDS = ("class", "score", "x1", "y1", "x2", "y2")
SHOWN_SCORE = 0.3  # detections with lower scores are not shown
MIN_IOU = 0.5  # correct detections have a larger IoU with an object of their class
_CORRECT, _WRONG, _MISSED, _DIFFICULT = (40, 180, 60), (220, 40, 40), (60, 90, 230), (150, 150, 150)  # RGB
_THIN, _THICK = 1, 2  # pixels
_UNIT_WIDTH = 1024  # pixels; in wider images, lines and text are scaled


class DetectionDisplay(Display):
    """Boxes (n, 6), sorted by descending score, with columns FIELDS.

    Corners are in pixels, from (0, 0) at the upper left corner of the image to (W, H) at the lower right one. The score
    of ground truth objects is 1, or NaN for difficult ones.

    Args:
        size: image size of the network, (H, W).
        softmax: see `utils.boxes.detect`.
        min_score: minimum score of detections.
    """

    map_name = "boxes"
    caption = "objects"
    files: ClassVar = {
        "boxes.json": lambda values, settings, rgb: _records(values, settings),
        "boxes.png": lambda values, settings, rgb: draw_detections(rgb, values, settings),
    }
    error_marks = ("green: correct", "red: wrong", "blue: missed")

    def __init__(self, size: tuple[int, int], softmax: bool, min_score: float = SHOWN_SCORE):
        self._size = size
        self._softmax = softmax
        self._min_score = min_score

    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        """The detections of a prediction (A, 4 + C'), see `utils.boxes.detect`."""
        return self.as_map_at(prediction, self._size, self._size)

    def as_map_at(self, prediction: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int]) -> np.ndarray:
        """The detections, clipped to the image; boxes entirely outside are dropped."""
        [boxes], [scores], [labels] = detect(prediction[None], self._size, self._softmax)
        corners = boxes.cpu().numpy().astype(np.float64) * _limits(padded_size)
        corners = corners.clip(0, _limits(size))
        scores, labels = scores.cpu().numpy(), labels.cpu().numpy()
        is_shown = (labels > 0) & (scores >= self._min_score) & (corners[:, 2:] > corners[:, :2]).all(1)
        return np.column_stack([labels, scores, corners])[is_shown].astype(np.float32)

    def target_map(self, batch: dict, i: int) -> np.ndarray:
        """The objects of an image without augmentation, fitted to the size of the network; including difficult ones."""
        objects, stored_size = batch["objects"][i].cpu().numpy(), batch["stored_size"][i].tolist()
        objects = objects[objects[:, 4] > 0]  # without padding
        corners = (objects[:, :4] - 1) / _limits(padded_size(stored_size, *self._size)) * _limits(self._size)
        scores = np.where(objects[:, 5] > 0, np.nan, 1)
        return np.column_stack([objects[:, 4], scores, corners]).astype(np.float32)

    def draw(
        self, rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None
    ) -> np.ndarray:
        """See `draw_detections`."""
        return draw_detections(rgb, values, settings)

    def draw_error(self, rgb: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Correct detections in green, wrong ones in red, missed objects in blue, see `match`; ignored ones in gray."""
        is_correct, is_wrong, is_missed = match(prediction, target)
        counts = is_correct | is_wrong
        shown = [(_CORRECT, prediction[is_correct]), (_WRONG, prediction[is_wrong])]
        shown += [(_MISSED, target[is_missed]), (_DIFFICULT, prediction[~counts])]
        boxes = np.concatenate([rows for _, rows in shown])[:, 2:]
        colors = tuple(color for color, rows in shown for _ in rows)
        return draw_boxes(rgb, boxes, colors, is_thin=np.arange(len(boxes)) >= len(boxes) - (~counts).sum())

    def shrunk(self, values: np.ndarray, step: int) -> np.ndarray:
        return values / np.array([1, 1, step, step, step, step], np.float32)

    def meaning(self, settings: DisplaySettings) -> dict:
        return {
            "unit": "pixels of the image: its upper left corner is 0, 0, its lower right one its width and height",
            "boxes.json": "the class, the score and the corners of each object, the best first",
            "min_score": self._min_score,
        }

    def classes(self, maps: tuple[np.ndarray, ...]) -> list[int]:
        labels, counts = np.unique(np.concatenate([values[:, 0] for values in maps]), return_counts=True)
        return labels[np.argsort(-counts, kind="stable")].astype(int).tolist()

    def marks(self, values: np.ndarray, settings: DisplaySettings) -> list[str]:
        return ["thin: difficult"] if np.isnan(values[:, 1]).any() else []


def match(detections: np.ndarray, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match detections with objects by VOC's rule.

    In the order of descending scores, each detection is assigned to the object of its class with the highest IoU. If
    the IoU is above MIN_IOU, the first detection of an object is correct and later ones are wrong; detections of
    difficult objects are ignored. Otherwise, detections are wrong.

    Args:
        detections: (n, 6), sorted by descending score.
        objects: ground truth (m, 6).

    Returns:
        Which detections are correct and wrong, (n,) bool each, and which objects are missed, (m,) bool.
    """
    pairs = torch.from_numpy(detections[:, None, 2:]), torch.from_numpy(objects[None, :, 2:])
    overlaps = paired_iou(*pairs).numpy() * (detections[:, :1] == objects[:, 0])  # (n, m)
    is_correct, is_wrong = np.zeros((2, len(detections)), bool)
    is_difficult = np.isnan(objects[:, 1])
    is_missed = ~is_difficult
    for i, row in enumerate(overlaps):
        assigned = int(row.argmax()) if len(row) and row.max() > MIN_IOU else None
        if assigned is None or not (is_difficult[assigned] or is_missed[assigned]):
            is_wrong[i] = True
        elif is_missed[assigned]:
            is_correct[i], is_missed[assigned] = True, False
    return is_correct, is_wrong, is_missed


def draw_detections(rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings) -> np.ndarray:
    """Draw detections or objects on an image (H, W, 3) uint8, with the colors and names of their classes.

    Scores of 1, as in ground truth, are not written; difficult objects have thin lines and no names. Small images are
    enlarged, see `draw_boxes`.
    """
    names, colors = settings.class_names, settings.class_colours
    is_difficult = np.isnan(values[:, 1])
    tags = [
        "" if np.isnan(score) else names[int(label)] if score == 1 else f"{names[int(label)]} {score:.2f}"
        for label, score in values[:, :2].tolist()
    ]
    return draw_boxes(rgb, values[:, 2:], tuple(colors[int(label)] for label in values[:, 0]), tags, is_difficult)


def draw_boxes(
    rgb: np.ndarray,
    boxes: np.ndarray,
    colors: Colors,
    names: list[str] | None = None,
    is_thin: np.ndarray | None = None,
) -> np.ndarray:
    """Draw boxes on an image, with names above them; earlier boxes cover later ones.

    Args:
        rgb: (H, W, 3) uint8.
        boxes: corners x1, y1, x2, y2 in pixels, (n, 4).
        colors, names: color and name of each box.
        is_thin: whether each box has thin lines, (n,) bool.

    Returns:
        The image, enlarged by an integer factor if it is too small for text, see `visual.drawing.enlargement`.
    """
    factor = enlargement(rgb.shape[1])
    image = np.ascontiguousarray(rgb.repeat(factor, axis=0).repeat(factor, axis=1))
    unit = max(1, round(image.shape[1] / _UNIT_WIDTH))
    height, width = image.shape[:2]
    corners = np.rint(boxes * factor).clip(0, (width - 1, height - 1) * 2).astype(int).tolist()
    names = names or [""] * len(corners)
    thickness = np.where(np.zeros(len(corners), bool) if is_thin is None else is_thin, _THIN, _THICK) * unit
    rows = list(zip(corners, colors, names, thickness.tolist(), strict=True))
    for (left, top, right, bottom), color, name, line_width in reversed(rows):
        cv2.rectangle(image, (left, top), (right, bottom), color, line_width)
        if name:
            write_tag(image, name, (left, top - TAG_HEIGHT * unit), color, unit)
    return image


def _records(values: np.ndarray, settings: DisplaySettings) -> list[dict]:
    """Detections as plain data, with class names."""
    return [
        {"class": settings.class_names[int(label)], "score": round(score, 4)}
        | {name: round(value, 2) for name, value in zip(FIELDS[2:], corners, strict=True)}
        for label, score, *corners in values.tolist()
    ]


def _limits(size: tuple[int, int]) -> np.ndarray:
    """Upper limits of x1, y1, x2, y2 in an image of this (H, W)."""
    height, width = size
    return np.array([width, height, width, height], np.float64)
