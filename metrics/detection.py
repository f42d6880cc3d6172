"""Average precision of detections in images of perspective cameras."""

import numpy as np
import torch

from metrics.coco_ap import coco_average_precision, import_pycocotools
from metrics.perspective import PerspectiveMetric
from metrics.task_metric import BatchMetrics
from metrics.voc_ap import (
    NO_DETECTIONS,
    NO_OBJECTS,
    THRESHOLDS,
    AveragePrecisions,
    DetectedBoxes,
    ObjectBoxes,
    average_precisions,
)
from utils.boxes import detect, stored_pixels
from utils.distributed import gather_objects

ELEVEN_POINT, COCO = "_11point", "mAP_coco"

PROTOCOL = {
    "detection": "mean over the classes with objects of the average precision by the VOC devkit, the area below the "
    "envelope of the precision-recall curve; mAP over the IoUs 0.50:0.05:0.95, mAP_50 and mAP_75 at one IoU; difficult "
    "objects are ignored; the 200 best detections of each image",
    ELEVEN_POINT: "the same by the rule before VOC 2010, the mean of the envelope at 11 recalls",
    COCO: "average precision by pycocotools: 101 recalls, the 100 best detections of each image, difficult objects are "
    "crowds",
}


class DetectionMetric(PerspectiveMetric):
    """Mean average precisions of detections; there are no metrics of single images.

    All evaluated images count, including those without objects. Detections with equal scores are ordered by the
    ``index`` of their images.

    Args:
        num_classes: C, including the background. Predictions have C - 1 logits (a sigmoid per class) or C (a softmax).
        with_coco: whether to compute `mAP_coco` as well.

    Raises:
        UserError: when `with_coco` is set and pycocotools is not installed.
    """

    image_metric_names = ()
    dataset_metric_names = ("mAP", "mAP_50", "mAP_75", "mAP_11point", "mAP_50_11point", "mAP_75_11point")

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", with_coco: bool = False):
        super().__init__(num_classes, device)
        self.with_coco = with_coco
        if with_coco:
            import_pycocotools()  # fail now, not after the evaluation
            self.dataset_metric_names = (*self.dataset_metric_names, COCO)

    def set_up(self) -> None:
        self._detections = [NO_DETECTIONS]  # per batch
        self._objects = [NO_OBJECTS]

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        """Store the detections and the objects of a batch; returns no metrics.

        Args:
            prediction: (B, A, 4 + C'), see `utils.boxes.detect`.
            batch: ``rgb`` (B, 3, H, W), for its size; ``index`` (B,); ``stored_size`` (B, 2) H, W; ``objects``
                (B, M, 6): x1, y1, x2, y2 in pixels of the stored image, counted from 1, class, whether difficult;
                class 0 is padding.
        """
        size = tuple(batch["rgb"].shape[-2:])
        detected = detect(prediction, size, softmax=prediction.shape[-1] - 4 == self.num_classes)
        boxes = stored_pixels(detected.boxes, batch["stored_size"], size)
        index, objects = torch.as_tensor(batch["index"]).cpu().numpy(), batch["objects"].cpu().numpy()
        labels, scores, boxes = (values.cpu().numpy() for values in (detected.labels, detected.scores, boxes))
        image, row = np.nonzero(labels)
        self._detections.append(DetectedBoxes(index[image], labels[image, row], scores[image, row], boxes[image, row]))
        image, row = np.nonzero(objects[..., 4])
        objects = objects[image, row]
        self._objects.append(
            ObjectBoxes(index[image], objects[:, 4].astype(np.int64), objects[:, :4], objects[:, 5] > 0)
        )
        no_values = torch.zeros(len(prediction), 0, dtype=torch.float64, device=prediction.device)
        return BatchMetrics(no_values, batch["objects"][..., 4].gt(0).any(1))

    def dataset_metrics(self) -> dict[str, float]:
        detections, objects = self.gathered()
        if objects.is_difficult.all():  # or there are no objects
            return {}
        precisions = average_precisions(detections, objects, self.num_classes)
        metrics = mean_average_precisions(precisions)
        if self.with_coco:
            metrics[COCO] = coco_average_precision(detections, objects)
        return metrics

    def gathered(self) -> tuple[DetectedBoxes, ObjectBoxes]:
        """Detections and objects of all images so far, of all processes, sorted by image."""
        detections, objects = zip(*gather_objects((self._detections, self._objects)), strict=True)
        return DetectedBoxes(*_in_order(detections)), ObjectBoxes(*_in_order(objects))


def mean_average_precisions(precisions: AveragePrecisions) -> dict[str, float]:
    """``mAP``, ``mAP_50`` and ``mAP_75`` by both rules: means over the classes that have objects."""
    metrics = {}
    for suffix, table in (("", precisions.area), (ELEVEN_POINT, precisions.eleven_point)):
        by_threshold = np.nanmean(table, axis=0)
        metrics[f"mAP{suffix}"] = float(by_threshold.mean())
        for threshold in (0.5, 0.75):
            metrics[f"mAP_{threshold * 100:.0f}{suffix}"] = float(by_threshold[THRESHOLDS.index(threshold)])
    return metrics


def _in_order(by_process: tuple[list[DetectedBoxes] | list[ObjectBoxes], ...]) -> list[np.ndarray]:
    """Concatenate the fields of all batches of all processes, stably sorted by image, the first field."""
    batches = [fields for batches in by_process for fields in batches]
    fields = [np.concatenate(values) for values in zip(*batches, strict=True)]
    order = np.argsort(fields[0], kind="stable")
    return [values[order] for values in fields]
