"""Collecting metrics over batches and processes.

Metrics are stored per image and averaged over images at the end, in the order of the dataset: given the same
predictions, they are bitwise identical on a CPU for any batch size and number of processes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import torch

from metrics.breakdown import Breakdown
from metrics.joint import JointMetric
from metrics.perspective import PerspectiveMetric
from metrics.protocol import PER_PIXEL, SOLID_ANGLE, Protocol
from metrics.resizing import resized
from metrics.seam import ColumnDifference, seam_scores
from metrics.task_metric import RELEASED, TaskMetric
from utils.batches import STORED
from utils.distributed import gather_objects

PROTOCOL = {
    **RELEASED.describe(),
    "normal": "degrees; mean over images of the metric over valid pixels; a1 .. a5: % below 5, 7.5, 11.25, 22.5, 30",
    "segmentation": "mIoU, pixAcc, mAcc and fwIoU from one confusion matrix of the whole dataset; mIoU over the "
    "classes that occur, mAcc over those of the ground truth, fwIoU by their frequency there; "
    "mIoU_per_image: mean over images of the mean IoU over all classes, absent ones counting as 0; "
    "mIoU_occurring: the same over the classes that occur in the image",
    "seam": "needs no ground truth: change of the prediction (ln depth, angle of normals, label) across the left/right "
    "border, divided by the mean change between neighboring columns, rows weighted by solid angle; mean over images; "
    "1: seamless",
    SOLID_ANGLE: "the same metric with pixels weighted by their solid angle",
}


def describe_protocol(protocol: Protocol) -> dict[str, str]:
    """What each metric is, by task, by its name, or by the ending of its key, but for those of `metrics.joint`."""
    described = PROTOCOL | protocol.describe()
    region = protocol.region
    if region.pole_crop or region.without_black or protocol.mask:
        masked = f", without the black pixels of --mask (sha256 {protocol.mask[:16]})" if protocol.mask else ""
        described["region"] = f"all metrics that use ground truth: {region.describe()}{masked}"
    if protocol.at_truth_size:
        described["size"] = "predictions resized to the stored ground truth"
    if protocol.pool_pixels:
        described[PER_PIXEL] = "the same metric of the valid pixels of all images together"
    return described


class Evaluator:
    """Collects the metrics of a set of images.

    Args:
        metrics: of each task to evaluate.
        column_differences: per task, the difference between neighboring columns, for the seam score; tasks that it
            lacks have none.
        joint: further metrics.
    """

    def __init__(
        self,
        metrics: Mapping[str, TaskMetric | PerspectiveMetric],
        column_differences: Mapping[str, ColumnDifference] = MappingProxyType({}),
        joint: tuple[JointMetric, ...] = (),
    ):
        self.metrics = metrics
        self._column_differences = column_differences
        self._joint = joint
        self.rows: list[dict] = []  # per image: index, id and available metrics as "task/metric"

    def update(self, predictions: dict[str, torch.Tensor], batch: dict) -> None:
        """Add a batch of predictions and its ground truth (see `datasets.panorama` for the keys)."""
        fetched = self.batch_values(predictions, batch).cpu().numpy()  # at once: only here the host waits for a GPU
        for index, sample, values in zip(batch["index"], batch["id"], fetched, strict=True):
            self.rows.append(self._row(int(index), sample, values))

    def batch_values(self, predictions: dict[str, torch.Tensor], batch: dict) -> torch.Tensor:
        """All that is kept of the images of a batch, (B, .) float64, on their device: see `_row`."""
        columns = []
        for task, metric in self.metrics.items():
            of_batch = metric.batch_metrics(predictions[task], batch)
            has_ground_truth = of_batch.has_ground_truth.reshape(len(of_batch.values), -1)
            columns += [has_ground_truth.expand_as(of_batch.values).double(), of_batch.values]
            if difference := self._column_differences.get(task):
                columns.append(seam_scores(predictions[task], difference)[:, None])  # needs no ground truth
            if of_batch.profiles is not None:
                columns.append(of_batch.profiles.flatten(1))
            if of_batch.sums is not None:
                columns.append(of_batch.sums)
        for joint in self._joint:
            values, is_known = joint.of_batch(predictions, batch)
            columns += [is_known.double()[:, None].expand_as(values), values]
        return torch.cat(columns, dim=1) if columns else torch.zeros(len(batch["id"]), 0)

    def _row(self, index: int, sample: str, values: np.ndarray) -> dict:
        """The row of an image: of each task the metrics, if it has ground truth, and the seam score."""
        row = {"index": index, "id": sample}
        for task, metric in self.metrics.items():
            names = [f"{task}/{name}" for name in metric.image_metric_names]
            has_ground_truth, metrics, values = np.split(values, [len(names), 2 * len(names)])
            known = zip(names, metrics.tolist(), has_ground_truth, strict=True)
            row |= {name: value for name, value, is_known in known if is_known}
            if task in self._column_differences:
                seam, values = np.split(values, [1])
                row[f"{task}/seam"] = seam.item()
            if metric.profiles:
                sums, values = np.split(values, [math.prod(metric.profiles.shape)])
                metric.profiles.keep(index, sums.reshape(metric.profiles.shape))
            if metric.sums:
                sums, values = np.split(values, [metric.sums.size])
                metric.sums.keep(index, sums)
        for joint in self._joint:
            is_known, of_image, values = np.split(values, [len(joint.names), 2 * len(joint.names)])
            named = zip(joint.names, of_image.tolist(), is_known, strict=True)
            row |= {f"{joint.task}/{name}": value for name, value, known in named if known}
        return row

    def compute(self) -> tuple[dict[str, dict[str, float]], list[dict]]:
        """Metrics of all images of all processes, and the metrics of each image.

        Returns:
            ``{task: {metric: value}}``, a dict with only ``seam`` if no image has ground truth for it; and one
            dict per image with ``index``, ``id`` and ``task/metric`` keys, in the order of the dataset.
        """
        rows = sorted((row for rows in gather_objects(self.rows) for row in rows), key=lambda row: row["index"])
        results = {
            task: metric.dataset_metrics() | _mean_over_images(rows, task) for task, metric in self.metrics.items()
        }
        return results, rows

    def breakdowns(self) -> dict[str, Breakdown]:
        """Error profiles of all images of all processes, per task. Needs `with_breakdown`."""
        return {task: metric.breakdown() for task, metric in self.metrics.items()}


def _mean_over_images(rows: list[dict], task: str) -> dict[str, float]:
    """Mean of every metric of a task over the images that have it."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(f"{task}/"))
    means = {}
    for name in names:
        values = [row[name] for row in rows if name in row]
        means[name.removeprefix(f"{task}/")] = sum(values) / len(values)
    return means


@torch.no_grad()
def evaluate(
    predict: Callable[[torch.Tensor], dict[str, torch.Tensor]],
    batches: Iterable[dict],
    evaluator: Evaluator,
    on_batch: Callable[[int, dict, dict], None] | None = None,
) -> tuple[dict[str, dict[str, float]], list[dict]]:
    """Run a predictor over all batches and evaluate it.

    Args:
        predict: from rgb (B, 3, H, W) to predictions; for example a network in eval mode.
        batches: images and ground truth on the predictor's device, see `datasets.panorama`.
        evaluator: a new `Evaluator` on that device.
        on_batch: called with (batch number, batch, predictions) after each batch, to draw images.

    Returns:
        See `Evaluator.compute`.
    """
    predicted = PredictedBatches(batches, lambda batch: predict(batch["rgb"]))
    return evaluate_predictions(predicted, evaluator, on_batch)


class PredictedBatches:
    """Pairs of a batch and its predictions, which are resized to it if they are of another size.

    Not a generator: an interrupted loop over it ends at once, and with it the progress bar of its batches.

    Args:
        batches: to predict.
        predict: from a batch to predictions.
        at_truth_size: whether the batches of the pairs are those at the size of the stored ground truth.
    """

    def __init__(
        self,
        batches: Iterable[dict],
        predict: Callable[[dict], dict[str, torch.Tensor]],
        at_truth_size: bool = False,
    ):
        self._batches = batches
        self._predict = predict
        self._at_truth_size = at_truth_size

    def __iter__(self) -> Iterator[tuple[dict, dict[str, torch.Tensor]]]:
        for batch in self._batches:
            predictions = self._predict(batch)
            if self._at_truth_size:
                batch = batch.get(STORED, batch)
            size = batch["rgb"].shape[-2:]
            yield batch, {task: resized(task, prediction, size) for task, prediction in predictions.items()}


@torch.no_grad()
def evaluate_predictions(
    predicted: Iterable[tuple[dict, dict[str, torch.Tensor]]],
    evaluator: Evaluator,
    on_batch: Callable[[int, dict, dict], None] | None = None,
) -> tuple[dict[str, dict[str, float]], list[dict]]:
    """As `evaluate`, of pairs of a batch and its predictions."""
    for number, (batch, predictions) in enumerate(predicted):
        evaluator.update(predictions, batch)
        if on_batch:
            on_batch(number, batch, predictions)
    return evaluator.compute()
