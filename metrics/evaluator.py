"""Collects metrics over batches and processes.

Metrics are stored per image and averaged at the end, in the order of the dataset: given the same predictions, results
on a CPU are bitwise identical for any batch size and number of processes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import torch

from metrics.breakdown import Breakdown
from metrics.extra import ExtraMetric
from metrics.perspective import PerspectiveMetric
from metrics.protocol import PER_PIXEL, SOLID_ANGLE, Protocol
from metrics.resizing import resized
from metrics.seam import ColumnDifference, seam_scores
from metrics.task_metric import RELEASED, TaskMetric
from utils.batches import STORED
from utils.distributed import gather_objects

# Part of results.json, by which tools.compare recognizes the same protocol: rewording makes earlier results other ones.
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
    """Definitions of all metrics but the extra ones: by task, by metric, or by key suffix."""
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
        metrics: metrics of each task to evaluate.
        column_differences: by task, the difference between neighboring columns; missing tasks have no seam score.
        extra: extra metrics to compute.
    """

    def __init__(
        self,
        metrics: Mapping[str, TaskMetric | PerspectiveMetric],
        column_differences: Mapping[str, ColumnDifference] = MappingProxyType({}),
        extra: tuple[ExtraMetric, ...] = (),
    ):
        self.metrics = metrics
        self._column_differences = column_differences
        self._extra = extra
        self.rows: list[dict] = []  # per image: index, id and available metrics as "task/metric"

    def update(self, predictions: dict[str, torch.Tensor], batch: dict) -> None:
        """Add a batch of predictions and its ground truth (see `datasets.panorama` for the keys)."""
        fetched = self.batch_values(predictions, batch).cpu().numpy()  # the only synchronization with a GPU
        for index, sample, values in zip(batch["index"], batch["id"], fetched, strict=True):
            self.rows.append(self._row(int(index), sample, values))

    def batch_values(self, predictions: dict[str, torch.Tensor], batch: dict) -> torch.Tensor:
        """All values stored for the images of a batch, (B, .) float64, on their device; `_row` unpacks them."""
        columns = []
        for task, metric in self.metrics.items():
            metrics = metric.batch_metrics(predictions[task], batch)
            has_ground_truth = metrics.has_ground_truth.reshape(len(metrics.values), -1)
            columns += [has_ground_truth.expand_as(metrics.values).double(), metrics.values]
            if difference := self._column_differences.get(task):
                columns.append(seam_scores(predictions[task], difference)[:, None])
            if metrics.profiles is not None:
                columns.append(metrics.profiles.flatten(1))
            if metrics.sums is not None:
                columns.append(metrics.sums)
        for extra in self._extra:
            values, is_valid = extra.compute(predictions, batch)
            columns += [is_valid.double()[:, None].expand_as(values), values]
        return torch.cat(columns, dim=1) if columns else torch.zeros(len(batch["id"]), 0)

    def _row(self, index: int, sample: str, values: np.ndarray) -> dict:
        """The row of an image: the metrics for which it has ground truth, and the seam scores."""
        row = {"index": index, "id": sample}
        for task, metric in self.metrics.items():
            names = [f"{task}/{name}" for name in metric.image_metric_names]
            has_ground_truth, metrics, values = np.split(values, [len(names), 2 * len(names)])
            named = zip(names, metrics.tolist(), has_ground_truth, strict=True)
            row |= {name: value for name, value, is_valid in named if is_valid}
            if task in self._column_differences:
                seam, values = np.split(values, [1])
                row[f"{task}/seam"] = seam.item()
            if metric.profiles:
                sums, values = np.split(values, [metric.profiles.size])
                metric.profiles.add(index, sums)
            if metric.sums:
                sums, values = np.split(values, [metric.sums.size])
                metric.sums.add(index, sums)
        for extra in self._extra:
            is_valid, metrics, values = np.split(values, [len(extra.names), 2 * len(extra.names)])
            named = zip(extra.names, metrics.tolist(), is_valid, strict=True)
            row |= {f"{extra.task}/{name}": value for name, value, is_valid in named if is_valid}
        return row

    def compute(self) -> tuple[dict[str, dict[str, float]], list[dict]]:
        """Metrics over the images of all processes, and the metrics of each image.

        Returns:
            ``{task: {metric: value}}``, with only ``seam`` for tasks without any ground truth; and one dict per image
            with the keys ``index``, ``id`` and ``task/metric``, in the order of the dataset.
        """
        rows = sorted((row for rows in gather_objects(self.rows) for row in rows), key=lambda row: row["index"])
        results = {
            task: metric.dataset_metrics() | _mean_over_images(rows, task) for task, metric in self.metrics.items()
        }
        return results, rows

    def breakdowns(self) -> dict[str, Breakdown]:
        """Error profiles by task, over the images of all processes. Requires `with_breakdown`."""
        return {task: metric.breakdown() for task, metric in self.metrics.items()}


def _mean_over_images(rows: list[dict], task: str) -> dict[str, float]:
    """Mean of each metric of a task over the images that have it."""
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
    """Evaluate a predictor on all batches.

    Args:
        predict: returns predictions, given RGB (B, 3, H, W); for example a network in eval mode.
        batches: images and ground truth on the predictor's device, see `datasets.panorama`.
        evaluator: a new `Evaluator` on the same device.
        on_batch: called with (batch number, batch, predictions) after each batch, to draw images.

    Returns:
        See `Evaluator.compute`.
    """
    predicted = PredictedBatches(batches, lambda batch: predict(batch["rgb"]))
    return evaluate_predictions(predicted, evaluator, on_batch)


class PredictedBatches:
    """Iterates over pairs of a batch and its predictions, resized to the size of the batch.

    Not a generator function, so that leaving a loop early also closes the progress bar of the batches.

    Args:
        batches: batches to predict.
        predict: returns predictions, given a batch.
        at_truth_size: whether to return the batches at the size of the stored ground truth.
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
    """Evaluate pairs of a batch and its predictions, as `evaluate` does."""
    for number, (batch, predictions) in enumerate(predicted):
        evaluator.update(predictions, batch)
        if on_batch:
            on_batch(number, batch, predictions)
    return evaluator.compute()
