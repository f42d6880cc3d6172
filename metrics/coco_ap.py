"""COCO's average precision of detections, computed by pycocotools."""

import contextlib
import io
from types import ModuleType

import numpy as np

from metrics.voc_ap import DetectedBoxes, ObjectBoxes
from utils.extras import import_extra


def import_pycocotools() -> tuple[ModuleType, ModuleType]:
    """Import pycocotools.

    Returns:
        Its modules ``coco`` and ``cocoeval``.

    Raises:
        UserError: when it is not installed.
    """
    return import_extra("pycocotools.coco", "mAP_coco"), import_extra("pycocotools.cocoeval", "mAP_coco")


def coco_average_precision(detections: DetectedBoxes, objects: ObjectBoxes) -> float:
    """AP over the IoUs 0.50:0.05:0.95 for boxes of all areas; difficult objects count as crowds, which are ignored.

    Raises:
        UserError: when pycocotools is not installed.
    """
    coco, cocoeval = import_pycocotools()
    if not len(detections.images):
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        ground_truth = coco.COCO()
        ground_truth.dataset = _annotations(detections, objects)
        ground_truth.createIndex()
        corners = detections.boxes
        rows = np.column_stack([detections.images, corners[:, :2], corners[:, 2:] - corners[:, :2]])
        results = ground_truth.loadRes(np.column_stack([rows, detections.scores, detections.labels]))
        evaluation = cocoeval.COCOeval(ground_truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def _annotations(detections: DetectedBoxes, objects: ObjectBoxes) -> dict:
    """The ground truth in COCO's annotation format. As in training, VOC's boxes end before their last pixel."""
    corner = objects.boxes[:, :2] - 1
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    columns = {
        "id": np.arange(len(sides)) + 1,  # pycocotools takes 0 for unmatched
        "image_id": objects.images,
        "category_id": objects.labels,
        "bbox": np.column_stack([corner, sides]),
        "area": sides.prod(1),
        "iscrowd": objects.is_difficult.astype(int),
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    annotations = [dict(zip(columns, row, strict=True)) for row in rows]
    images = np.union1d(detections.images, objects.images).tolist()
    labels = np.union1d(detections.labels, objects.labels).tolist()
    return {
        "images": [{"id": image} for image in images],
        "annotations": annotations,
        "categories": [{"id": label} for label in labels],
    }
