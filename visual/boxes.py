"""How detections are shown: boxes drawn on the image."""

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
MIN_IOU = 0.5  # of a right detection with an object of its class: more than that
_RIGHT, _WRONG, _MISSED, _DIFFICULT = (40, 180, 60), (220, 40, 40), (60, 90, 230), (150, 150, 150)  # RGB
_THIN, _THICK = 1, 2  # pixels
_SHARP_WIDTH = 1024  # of wider images, lines and text are wider, too


class DetectionDisplay(Display):
    """Boxes (n, 6), the best first, whose columns are FIELDS.

    Corners are in pixels of the image, whose upper left corner is 0, 0 and whose lower right one is its width and
    height. In ground truth the score is 1, and NaN where an object is difficult.

    Args:
        size: of the images of the network, (H, W).
        softmax: see `utils.boxes.detect`.
        min_score: of the detections that are kept.
    """

    map_name = "boxes"
    caption = "objects"
    files: ClassVar = {
        "boxes.json": lambda values, settings, rgb: _records(values, settings),
        "boxes.png": lambda values, settings, rgb: draw_detections(rgb, values, settings),
    }
    error_marks = ("green: right", "red: wrong", "blue: missed")

    def __init__(self, size: tuple[int, int], softmax: bool, min_score: float = SHOWN_SCORE):
        self._size = size
        self._softmax = softmax
        self._min_score = min_score

    def as_map(self, prediction: torch.Tensor) -> np.ndarray:
        """The detections of a prediction (A, 4 + C')."""
        return self.as_map_at(prediction, self._size, self._size)

    def as_map_at(self, prediction: torch.Tensor, size: tuple[int, int], padded_size: tuple[int, int]) -> np.ndarray:
        """The detections clipped to the image; those entirely outside are dropped."""
        [boxes], [scores], [labels] = detect(prediction[None], self._size, self._softmax)
        corners = boxes.cpu().numpy().astype(np.float64) * _limits(padded_size)
        corners = corners.clip(0, _limits(size))
        scores, labels = scores.cpu().numpy(), labels.cpu().numpy()
        is_shown = (labels > 0) & (scores >= self._min_score) & (corners[:, 2:] > corners[:, :2]).all(1)
        return np.column_stack([labels, scores, corners])[is_shown].astype(np.float32)

    def target_map(self, batch: dict, i: int) -> np.ndarray:
        """The objects of an image that was fitted to the size of the network, not augmented; also difficult ones."""
        objects, stored_size = batch["objects"][i].cpu().numpy(), batch["stored_size"][i].tolist()
        objects = objects[objects[:, 4] > 0]  # the others fill up the batch
        corners = (objects[:, :4] - 1) / _limits(padded_size(stored_size, *self._size)) * _limits(self._size)
        scores = np.where(objects[:, 5] > 0, np.nan, 1)
        return np.column_stack([objects[:, 4], scores, corners]).astype(np.float32)

    def draw(
        self, rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings, scale: ColorScale | None = None
    ) -> np.ndarray:
        """See `draw_detections`."""
        return draw_detections(rgb, values, settings)

    def draw_error(self, rgb: np.ndarray, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Right detections in green, wrong ones in red, missed objects in blue, see `match`; others thin, gray."""
        is_right, is_wrong, is_missed = match(prediction, target)
        counts = is_right | is_wrong
        shown = [(_RIGHT, prediction[is_right]), (_WRONG, prediction[is_wrong])]
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
    """Which detections are right, which are wrong, and which objects are missed, by VOC's rule.

    Going down the scores, each detection belongs to the object of its class with which it has the highest IoU. If that
    is above MIN_IOU, it is right if it is the first one of that object; it does not count if the object is difficult.

    Args:
        detections: (n, 6), the best first.
        objects: (m, 6), ground truth.

    Returns:
        (n,), (n,) and (m,) bool.
    """
    pairs = torch.from_numpy(detections[:, None, 2:]), torch.from_numpy(objects[None, :, 2:])
    overlaps = paired_iou(*pairs).numpy() * (detections[:, :1] == objects[:, 0])  # (n, m)
    is_right, is_wrong = np.zeros((2, len(detections)), bool)
    is_difficult = np.isnan(objects[:, 1])
    is_missed = ~is_difficult
    for i, row in enumerate(overlaps):
        found = int(row.argmax()) if len(row) and row.max() > MIN_IOU else None
        if found is None or not (is_difficult[found] or is_missed[found]):
            is_wrong[i] = True
        elif is_missed[found]:
            is_right[i], is_missed[found] = True, False
    return is_right, is_wrong, is_missed


def draw_detections(rgb: np.ndarray, values: np.ndarray, settings: DisplaySettings) -> np.ndarray:
    """An image (H, W, 3) uint8 with detections, or objects, in the colors of their classes and with their names.

    Scores of 1, as of ground truth, are not written; difficult objects have thin lines and no names. Small images are
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
    """An image with boxes, of which earlier ones cover later ones, and their names above them.

    Args:
        rgb: (H, W, 3) uint8.
        boxes: (n, 4) corners x1, y1, x2, y2 in pixels.
        colors, names: of the boxes.
        is_thin: (n,) bool, whether lines are thin.

    Returns:
        The image, enlarged by a whole number if it is too small for text, see `visual.drawing.enlargement`.
    """
    factor = enlargement(rgb.shape[1])
    image = np.ascontiguousarray(rgb.repeat(factor, axis=0).repeat(factor, axis=1))
    unit = max(1, round(image.shape[1] / _SHARP_WIDTH))
    height, width = image.shape[:2]
    corners = np.rint(boxes * factor).clip(0, (width - 1, height - 1) * 2).astype(int).tolist()
    names = names or [""] * len(corners)
    thickness = np.where(np.zeros(len(corners), bool) if is_thin is None else is_thin, _THIN, _THICK) * unit
    rows = list(zip(corners, colors, names, thickness.tolist(), strict=True))
    for (left, top, right, bottom), color, name, lines in reversed(rows):
        cv2.rectangle(image, (left, top), (right, bottom), color, lines)
        if name:
            write_tag(image, name, (left, top - TAG_HEIGHT * unit), color, unit)
    return image


def _records(values: np.ndarray, settings: DisplaySettings) -> list[dict]:
    """Detections as plain data, with the names of their classes."""
    return [
        {"class": settings.class_names[int(label)], "score": round(score, 4)}
        | {name: round(value, 2) for name, value in zip(FIELDS[2:], corners, strict=True)}
        for label, score, *corners in values.tolist()
    ]


def _limits(size: tuple[int, int]) -> np.ndarray:
    """The largest x1, y1, x2, y2 in an image of (H, W)."""
    height, width = size
    return np.array([width, height, width, height], np.float64)
