"""Bounding boxes as they move with their image: rows of x1, y1, x2, y2 in pixels and the class.

The corners are those of the pixels: the box of the whole of an image of H x W is 0, 0, W, H. Classes count from 1, as 0
is the background. *Objects* are what a dataset stores, and what detections are evaluated by: corners as in an XML file
of VOC, where the first pixel is 1, with a class and whether the object is difficult.
"""

import numpy as np

FIELDS = 5  # of a box
OBJECT_FIELDS = 6


def no_boxes() -> np.ndarray:
    """(0, 5) float32."""
    return np.zeros((0, FIELDS), np.float32)


def no_objects() -> np.ndarray:
    """(0, 6) float64."""
    return np.zeros((0, OBJECT_FIELDS))


def boxes_of_objects(objects: np.ndarray) -> np.ndarray:
    """The boxes (n, 5) float32 to train on, from objects (M, 6): corners minus 1, without the difficult ones."""
    boxes = objects[objects[:, 5] == 0, :FIELDS].astype(np.float32)
    boxes[:, :4] -= 1
    return _with_area(boxes)


def clip_objects(objects: np.ndarray, height: int, width: int) -> np.ndarray:
    """Objects (M, 6) clipped to an image of H x W; those entirely outside are dropped."""
    limits = np.array([width, height, width, height]) + 1
    return _with_area(np.concatenate([objects[:, :4].clip(1, limits), objects[:, 4:]], axis=1))


def shifted(boxes: np.ndarray, down: float, right: float) -> np.ndarray:
    """Boxes (n, 5) after adding this many rows above and columns to the left of the image."""
    return boxes + np.array([right, down, right, down, 0], np.float32)


def clipped(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Boxes (n, 5) clipped to an image of H x W; those entirely outside are dropped."""
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
