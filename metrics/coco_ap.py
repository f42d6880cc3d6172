"""Average precision of detections as COCO computes it, by pycocotools."""

import contextlib
import io

import numpy as np

from metrics.voc_ap import DetectedBoxes, ObjectBoxes
from utils.extras import import_extra


def coco_average_precision(detections: DetectedBoxes, objects: ObjectBoxes) -> float:
    """AP over the IoUs 0.50:0.05:0.95 of boxes of all areas; difficult objects are crowds, which need not be found.

    Raises:
        UserError: when pycocotools is not installed.
    """
    coco_api = import_extra("pycocotools.coco", "mAP_coco")
    evaluation_api = import_extra("pycocotools.cocoeval", "mAP_coco")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        truth = coco_api.COCO()
        truth.dataset = _dataset(detections, objects)
        truth.createIndex()
        corners = detections.boxes
        rows = np.column_stack([detections.images, corners[:, :2], corners[:, 2:] - corners[:, :2]])
        results = truth.loadRes(np.column_stack([rows, detections.scores, detections.labels])) if len(rows) else None
        if results is None:
            return 0.0
        evaluation = evaluation_api.COCOeval(truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def _dataset(detections: DetectedBoxes, objects: ObjectBoxes) -> dict:
    """The ground truth as in a file of COCO's; the first pixel is that from 0 to 1."""
    corner = objects.boxes[:, :2] - 1
    sides = objects.boxes[:, 2:] - corner
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": label,
            "bbox": [*first, *side],
            "area": side[0] * side[1],
            "iscrowd": int(is_crowd),
        }
        for number, (image, label, first, side, is_crowd) in enumerate(
            zip(
                objects.images.tolist(),
                objects.labels.tolist(),
                corner.tolist(),
                sides.tolist(),
                objects.is_difficult,
                strict=True,
            ),
            start=1,  # 0 means not matched
        )
    ]
    images = np.union1d(detections.images, objects.images).tolist()
    labels = np.union1d(detections.labels, objects.labels).tolist()
    return {
        "images": [{"id": image} for image in images],
        "annotations": annotations,
        "categories": [{"id": label} for label in labels],
    }
