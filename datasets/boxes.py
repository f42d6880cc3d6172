"""Bounding boxes and their transforms: rows of x1, y1, x2, y2 in pixels and the class.

Coordinates count from the corner of the first pixel: the box of a whole H x W image is 0, 0, W, H. Classes count from
1, as 0 is the background. *Objects* are what datasets store and detections are evaluated against: x1, y1, x2, y2 as in
VOC's XML files, where the first pixel is 1; the class; and 1 if the object is difficult, else 0.
"""

import numpy as np

FIELDS = 5  # columns of boxes
OBJECT_FIELDS = 6


def no_boxes() -> np.ndarray:
    """Boxes (0, 5) float32."""
    return np.zeros((0, FIELDS), np.float32)


def no_objects() -> np.ndarray:
    """Objects (0, 6) float64."""
    return np.zeros((0, OBJECT_FIELDS))


def boxes_of_objects(objects: np.ndarray) -> np.ndarray:
    """Training boxes (n, 5) float32 from objects (M, 6): coordinates minus 1; difficult and empty ones are dropped."""
    boxes = objects[objects[:, 5] == 0, :FIELDS].astype(np.float32)
    boxes[:, :4] -= 1
    return _with_area(boxes)


def clip_objects(objects: np.ndarray, height: int, width: int) -> np.ndarray:
    """Clip objects (M, 6) to an H x W image, dropping those entirely outside."""
    limits = np.array([width, height, width, height]) + 1
    return _with_area(np.concatenate([objects[:, :4].clip(1, limits), objects[:, 4:]], axis=1))


def shifted(boxes: np.ndarray, down: float, right: float) -> np.ndarray:
    """Boxes (n, 5) after adding `down` rows above the image and `right` columns to its left."""
    return boxes + np.array([right, down, right, down, 0], np.float32)


def clipped(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Clip boxes (n, 5) to an H x W image, dropping those entirely outside."""
    limits = np.array([width, height, width, height], np.float32)
    return _with_area(np.concatenate([boxes[:, :4].clip(0, limits), boxes[:, 4:]], axis=1))


def scaled(boxes: np.ndarray, vertical: float, horizontal: float) -> np.ndarray:
    """Boxes (n, 5) after scaling the image by these factors."""
    return boxes * np.array([horizontal, vertical, horizontal, vertical, 1], np.float32)


def mirrored(boxes: np.ndarray, width: int) -> np.ndarray:
    """Boxes (n, 5) after mirroring an image of this width."""
    x1, y1, x2, y2, label = boxes.T
    return np.stack([width - x2, y1, width - x1, y2, label], axis=1).astype(np.float32)


def _with_area(boxes: np.ndarray) -> np.ndarray:
    return boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
