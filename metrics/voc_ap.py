"""Average precision of detections by the rules of the VOC devkit, at ten IoU thresholds.

Detections are rounded as in the devkit's files: scores to 3 decimals, corners (counted from 1) to 1 decimal. Boxes
include the pixels of both corners, so their sides are 1 pixel longer than the differences of the corners.

In the order of descending scores (equal scores in the given order), each detection of a class is assigned to the object
of its image and class with the highest IoU. If the IoU is above the threshold and the object is not difficult, the
first detection of the object is correct and later ones are wrong; detections of difficult objects are ignored. Below
the threshold, detections are wrong. Difficult objects do not count for the recall.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
_RECALLS = np.arange(0, 1.1, 0.1)  # of the 11-point rule; as in its usual Python port, the fourth is slightly above 0.3


class DetectedBoxes(NamedTuple):
    """D detections.

    Attributes:
        images: image indices (D,).
        labels: classes (D,), from 1.
        scores: (D,).
        boxes: x1, y1, x2, y2 in pixels of the stored image, counted from 0, (D, 4) float64.
    """

    images: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


class ObjectBoxes(NamedTuple):
    """M ground truth objects.

    Attributes:
        images, labels: see `DetectedBoxes`.
        boxes: x1, y1, x2, y2 in pixels, counted from 1 as in VOC's files, (M, 4) float64.
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
    """Average precisions of the classes 1 to C - 1 at the THRESHOLDS; NaN for classes without objects.

    Attributes:
        area: area below the envelope of the precision-recall curve, the rule since VOC 2010, (C - 1, 10).
        eleven_point: mean of the envelope at 11 recalls, the earlier rule, (C - 1, 10).
    """

    area: np.ndarray
    eleven_point: np.ndarray


def average_precisions(detections: DetectedBoxes, objects: ObjectBoxes, num_classes: int) -> AveragePrecisions:
    """Average precisions of the classes 1 to num_classes - 1; NaN for classes whose objects are all difficult."""
    boxes = np.round(detections.boxes + 1, 1)
    scores = np.round(detections.scores.astype(np.float64), 3)
    overlaps, assigned = best_objects(detections._replace(boxes=boxes), objects)
    order = np.argsort(-scores, kind="stable")
    area, eleven_point = np.full((2, num_classes - 1, len(THRESHOLDS)), np.nan)
    for label in range(1, num_classes):
        count = np.count_nonzero((objects.labels == label) & ~objects.is_difficult)
        rows = order[detections.labels[order] == label]
        for column, threshold in enumerate(THRESHOLDS if count else ()):
            curve = _curve(overlaps[rows] > threshold, assigned[rows], objects.is_difficult, count)
            area[label - 1, column] = area_precision(*curve)
            eleven_point[label - 1, column] = eleven_point_precision(*curve)
    return AveragePrecisions(area, eleven_point)


def best_objects(detections: DetectedBoxes, objects: ObjectBoxes) -> tuple[np.ndarray, np.ndarray]:
    """Highest IoU (D,) of each detection with an object of its image and class, and the index (D,) of that object.

    For ties, the first object; 0 and an arbitrary index if there is no such object.
    """
    num_labels = 1 + max(detections.labels.max(initial=0), objects.labels.max(initial=0))
    keys = objects.images * num_labels + objects.labels
    order = np.argsort(keys, kind="stable")
    wanted = detections.images * num_labels + detections.labels
    start, end = (np.searchsorted(keys[order], wanted, side) for side in ("left", "right"))
    counts = end - start
    first_pair = np.cumsum(counts) - counts
    # Indices (P,) of all pairs of a detection and an object of its image and class, grouped by detection.
    pair_detections = np.repeat(np.arange(len(counts)), counts)
    pair_objects = order[np.arange(counts.sum()) - np.repeat(first_pair - start, counts)]
    iou = _iou(detections.boxes[pair_detections], objects.boxes[pair_objects])
    overlaps, assigned = np.zeros(len(counts)), np.zeros(len(counts), np.int64)
    has_any = counts > 0
    if has_any.any():
        highest = np.maximum.reduceat(iou, first_pair[has_any])
        is_highest = iou == np.repeat(highest, counts[has_any])
        overlaps[has_any] = highest
        assigned[has_any] = np.minimum.reduceat(np.where(is_highest, pair_objects, len(keys)), first_pair[has_any])
    return overlaps, assigned


def area_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area below the envelope of a precision-recall curve (D,): the maximum precision at this or higher recall."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def eleven_point_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean of the envelope of a precision-recall curve (D,) at recalls of 0, 0.1, ..., 1."""
    return float(np.mean([precision[recall >= least].max(initial=0) for least in _RECALLS]))


def _curve(
    is_match: np.ndarray, assigned: np.ndarray, is_difficult: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision (D,) after each detection of a class, in the order of descending scores.

    Args:
        is_match: whether the IoU with the assigned object is above the threshold, (D,).
        assigned: index of the assigned object, (D,).
        is_difficult: (M,) for all objects.
        count: number of objects of the class that are not difficult.
    """
    counted = np.flatnonzero(is_match & ~is_difficult[assigned])
    _, first = np.unique(assigned[counted], return_index=True)
    is_correct = np.zeros(len(is_match), bool)
    is_correct[counted[first]] = True
    is_wrong = ~is_match
    is_wrong[counted] = ~is_correct[counted]
    correct, wrong = np.cumsum(is_correct), np.cumsum(is_wrong)
    return correct / count, correct / np.maximum(correct + wrong, 1)


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU (P,) of pairs of boxes (P, 4) that include the pixels of both corners."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2]) + 1
    intersection = sides.clip(0).prod(1)
    union = sum((boxes[:, 2:] - boxes[:, :2] + 1).prod(1) for boxes in (first, second)) - intersection
    return np.divide(intersection, union, out=np.zeros(len(union)), where=intersection > 0)
