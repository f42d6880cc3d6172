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
    "detection": "mean over the classes with an object, of the average precision by the VOC devkit: area below the "
    "envelope of the precisions; mAP over the IoUs 0.50:0.05:0.95, mAP_50 and mAP_75 at one IoU; difficult objects do "
    "not count; the 200 best detections of an image",
    ELEVEN_POINT: "the same by the rule before VOC 2010, the mean of the envelope at 11 recalls",
    COCO: "average precision of pycocotools: 101 recalls, the 100 best detections of an image, difficult objects as "
    "crowds",
}


class DetectionMetric(PerspectiveMetric):
    """Mean average precisions of detections; single images have no metrics.

    All images that were evaluated count, also those without an object. Results depend on the order of images, that of
    ``index``, where scores are equal.

    Args:
        num_classes: C, with the background. C - 1 logits are those of one sigmoid per class, C those of a softmax.
        with_coco: whether to compute `mAP_coco` as well.

    Raises:
        UserError: when that is wanted and pycocotools is not installed.
    """

    image_metric_names = ()
    dataset_metric_names = ("mAP", "mAP_50", "mAP_75", "mAP_11point", "mAP_50_11point", "mAP_75_11point")

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", with_coco: bool = False):
        super().__init__(num_classes, device)
        self.with_coco = with_coco
        if with_coco:
            import_pycocotools()  # now, not after all images
            self.dataset_metric_names = (*self.dataset_metric_names, COCO)

    def set_up(self) -> None:
        self._detections = [NO_DETECTIONS]  # per batch
        self._objects = [NO_OBJECTS]

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        """No metrics; keeps the detections and the objects of a batch.

        Args:
            prediction: (B, A, 4 + C'), see `utils.boxes.detect`.
            batch: ``rgb`` (B, 3, H, W), for its size; ``index`` (B,); ``stored_size`` (B, 2) H, W; ``objects``
                (B, M, 6) x1, y1, x2, y2 in pixels of the stored image, from 1, class, whether difficult; class 0 =
                padding.
        """
        size = tuple(batch["rgb"].shape[-2:])
        found = detect(prediction, size, softmax=prediction.shape[-1] - 4 == self.num_classes)
        boxes = stored_pixels(found.boxes, batch["stored_size"], size)
        index, objects = torch.as_tensor(batch["index"]).cpu().numpy(), batch["objects"].cpu().numpy()
        labels, scores, boxes = (values.cpu().numpy() for values in (found.labels, found.scores, boxes))
        image, place = np.nonzero(labels)
        self._detections.append(
            DetectedBoxes(index[image], labels[image, place], scores[image, place], boxes[image, place])
        )
        image, place = np.nonzero(objects[..., 4])
        objects = objects[image, place]
        self._objects.append(
            ObjectBoxes(index[image], objects[:, 4].astype(np.int64), objects[:, :4], objects[:, 5] > 0)
        )
        no_values = torch.zeros(len(prediction), 0, dtype=torch.float64, device=prediction.device)
        return BatchMetrics(no_values, batch["objects"][..., 4].gt(0).any(1))

    def dataset_metrics(self) -> dict[str, float]:
        detections, objects = self.gathered()
        if objects.is_difficult.all():  # also if there are none
            return {}
        precisions = average_precisions(detections, objects, self.num_classes)
        metrics = mean_average_precisions(precisions)
        if self.with_coco:
            metrics[COCO] = coco_average_precision(detections, objects)
        return metrics

    def class_precisions(self) -> AveragePrecisions:
        """Average precisions of each class, of all images so far, of all processes."""
        return average_precisions(*self.gathered(), self.num_classes)

    def gathered(self) -> tuple[DetectedBoxes, ObjectBoxes]:
        """Detections and objects of all images so far, of all processes, in the order of the images."""
        detections, objects = zip(*gather_objects((self._detections, self._objects)), strict=True)
        return DetectedBoxes(*_in_order(detections)), ObjectBoxes(*_in_order(objects))


def mean_average_precisions(precisions: AveragePrecisions) -> dict[str, float]:
    """``mAP``, ``mAP_50``, ``mAP_75`` by both rules, means over the classes with an object."""
    metrics = {}
    for suffix, table in (("", precisions.area), (ELEVEN_POINT, precisions.eleven_point)):
        of_thresholds = np.nanmean(table, axis=0)
        metrics[f"mAP{suffix}"] = float(of_thresholds.mean())
        for threshold in (0.5, 0.75):
            metrics[f"mAP_{threshold * 100:.0f}{suffix}"] = float(of_thresholds[THRESHOLDS.index(threshold)])
    return metrics


def _in_order(of_processes: tuple[list[DetectedBoxes] | list[ObjectBoxes], ...]) -> list[np.ndarray]:
    """The fields of all batches of all processes joined, ordered by the first one; of an image in the given order."""
    batches = [fields for batches in of_processes for fields in batches]
    fields = [np.concatenate(values) for values in zip(*batches, strict=True)]
    order = np.argsort(fields[0], kind="stable")
    return [values[order] for values in fields]
