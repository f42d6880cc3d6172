"""Average precision of detections by the rules of the VOC devkit, at ten thresholds of the IoU.

Detections are compared as the devkit's files hold them: scores with 3 decimals, corners counted from 1 with 1 decimal.
Boxes contain the pixels of their lower right corner, so that their sides are 1 pixel longer than the differences.

Going down the scores of a class, of equal ones in the given order, each detection belongs to the object of its image
and class with which it has the highest IoU. With an IoU above the threshold it is right if it is the first one of that
object, and wrong otherwise; it does not count if the object is difficult. Difficult objects need not be found.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
_RECALLS = np.arange(0, 1.1, 0.1)  # of the 11-point rule, as in its usual Python port: the fourth rounds to above 0.3


class DetectedBoxes(NamedTuple):
    """D detections.

    Attributes:
        images: their images, (D,) integers.
        labels: their classes, (D,) integers from 1.
        scores: (D,).
        boxes: x1, y1, x2, y2 in pixels of the stored image, from 0, (D, 4) float64.
    """

    images: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


class ObjectBoxes(NamedTuple):
    """M objects of the ground truth.

    Attributes:
        images, labels: as of `DetectedBoxes`.
        boxes: x1, y1, x2, y2 in pixels as in VOC's files, from 1, (M, 4) float64.
        is_difficult: (M,) bool.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    is_difficult: np.ndarray


_NONE = np.zeros(0, np.int64)
NO_DETECTIONS = DetectedBoxes(_NONE, _NONE, np.zeros(0, np.float32), np.zeros((0, 4)))
NO_OBJECTS = ObjectBoxes(_NONE, _NONE, np.zeros((0, 4)), np.zeros(0, bool))


@dataclass(frozen=True)
class AveragePrecisions:
    """Average precisions of the C - 1 classes, those from 1, at the THRESHOLDS; NaN for classes without an object.

    Attributes:
        area: below the envelope of the precisions over the recalls, the rule from VOC 2010 on, (C - 1, 10).
        eleven_point: the mean of the envelope at 11 recalls, the rule before, (C - 1, 10).
    """

    area: np.ndarray
    eleven_point: np.ndarray


def average_precisions(detections: DetectedBoxes, objects: ObjectBoxes, num_classes: int) -> AveragePrecisions:
    """Average precisions of the classes 1 to num_classes - 1; NaN for classes whose objects are all difficult."""
    boxes = np.round(detections.boxes + 1, 1)
    scores = np.round(detections.scores.astype(np.float64), 3)
    overlaps, found = best_objects(detections._replace(boxes=boxes), objects)
    order = np.argsort(-scores, kind="stable")
    area, eleven_point = np.full((2, num_classes - 1, len(THRESHOLDS)), np.nan)
    for label in range(1, num_classes):
        count = np.count_nonzero((objects.labels == label) & ~objects.is_difficult)
        rows = order[detections.labels[order] == label]
        for column, threshold in enumerate(THRESHOLDS if count else ()):
            curve = _curve(overlaps[rows] > threshold, found[rows], objects.is_difficult, count)
            area[label - 1, column] = area_precision(*curve)
            eleven_point[label - 1, column] = eleven_point_precision(*curve)
    return AveragePrecisions(area, eleven_point)


def best_objects(detections: DetectedBoxes, objects: ObjectBoxes) -> tuple[np.ndarray, np.ndarray]:
    """The highest IoU (D,) of each detection with an object of its image and class, and the index (D,) of that object.

    The first of equal ones; 0 and an arbitrary index if there is no such object.
    """
    num_labels = 1 + max(detections.labels.max(initial=0), objects.labels.max(initial=0))
    keys = objects.images * num_labels + objects.labels
    order = np.argsort(keys, kind="stable")
    wanted = detections.images * num_labels + detections.labels
    start, end = (np.searchsorted(keys[order], wanted, side) for side in ("left", "right"))
    counts = end - start
    first_pair = np.cumsum(counts) - counts
    # All pairs of a detection and an object of its image and class, those of a detection together: (P,)
    of_detection = np.repeat(np.arange(len(counts)), counts)
    of_object = order[np.arange(counts.sum()) - np.repeat(first_pair - start, counts)]
    iou = _iou(detections.boxes[of_detection], objects.boxes[of_object])
    overlaps, found = np.zeros(len(counts)), np.zeros(len(counts), np.int64)
    has_any = counts > 0
    if has_any.any():
        highest = np.maximum.reduceat(iou, first_pair[has_any])
        is_highest = iou == np.repeat(highest, counts[has_any])
        overlaps[has_any] = highest
        found[has_any] = np.minimum.reduceat(np.where(is_highest, of_object, len(keys)), first_pair[has_any])
    return overlaps, found


def area_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area below the envelope of a curve (D,), in which precision does not rise with recall."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def eleven_point_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean over recalls of 0, 0.1, ... 1 of the highest precision of a curve (D,) at that recall or more."""
    return float(np.mean([precision[recall >= least].max(initial=0) for least in _RECALLS]))


def _curve(
    is_near: np.ndarray, found: np.ndarray, is_difficult: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision (D,) after each detection of a class, in the order of their scores.

    Args:
        is_near: (D,) whether the IoU with an object is above the threshold.
        found: (D,) that object.
        is_difficult: (M,) of all objects.
        count: number of objects of the class that are not difficult.
    """
    counted = np.flatnonzero(is_near & ~is_difficult[found])
    _, first = np.unique(found[counted], return_index=True)
    is_right = np.zeros(len(is_near), bool)
    is_right[counted[first]] = True
    is_wrong = ~is_near
    is_wrong[counted] = ~is_right[counted]
    right, wrong = np.cumsum(is_right), np.cumsum(is_wrong)
    return right / count, right / np.maximum(right + wrong, 1)


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU (P,) of boxes (P, 4) that contain the pixels of both corners."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2]) + 1
    intersection = sides.clip(0).prod(1)
    union = sum((boxes[:, 2:] - boxes[:, :2] + 1).prod(1) for boxes in (first, second)) - intersection
    return np.divide(intersection, union, out=np.zeros(len(union)), where=intersection > 0)
