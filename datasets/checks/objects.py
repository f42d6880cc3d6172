"""Checks of perspective images with boxes, as of VOC and COCO, or with depth only.

The bounds come from synthetic images with known faults; no real ones were available.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Dataset

from datasets.checks.depth_values import DepthValues, evaluate_depth, measure_meters
from datasets.checks.finding import TOLERATED_OUTLIERS, Finding
from datasets.perspective import PerspectiveDataset, PerspectiveImage
from utils.errors import UserError
from utils.parallel import default_workers
from utils.tasks import DETECTION

_MIN_FILLED = 0.9  # fraction of the boxes that contain labels of their class


@dataclass(frozen=True)
class ObjectMeasurement:
    """Measurements of one image.

    Attributes:
        id, size: such as "VOC2007/000001" and "500x375".
        objects: (classes,) objects of each class that are not difficult.
        num_difficult: difficult objects.
        num_outside: objects that extend beyond the image.
        labels: (classes,) pixels of each class; None if the image has no labels.
        num_compared, num_filled: boxes, if the image has labels, and those that contain labels of their class.
        depth: depth in millimeters; None if no task needs it.
    """

    id: str
    size: str
    objects: np.ndarray
    num_difficult: int
    num_outside: int
    labels: np.ndarray | None
    num_compared: int
    num_filled: int
    depth: DepthValues | None


def measure_objects(image: PerspectiveImage, tasks: Sequence[str], num_classes: int) -> ObjectMeasurement:
    """Measure an image at its stored size."""
    rows, columns = image.size
    kept = image.objects[image.objects[:, 5] == 0]
    x1, y1, x2, y2 = image.objects[:, :4].T
    outside = (x1 < 1) | (y1 < 1) | (x2 > columns + 1) | (y2 > rows + 1) | (x2 <= x1) | (y2 <= y1)
    has_labels = bool((image.semantic >= 0).any())
    return ObjectMeasurement(
        id=image.id,
        size=f"{columns}x{rows}",
        objects=np.bincount(kept[:, 4].astype(int), minlength=num_classes),
        num_difficult=len(image.objects) - len(kept),
        num_outside=int(outside.sum()),
        labels=np.bincount(image.semantic[image.semantic >= 0], minlength=num_classes) if has_labels else None,
        num_compared=len(image.boxes) if has_labels else 0,
        num_filled=sum(_is_filled(box, image.semantic) for box in image.boxes) if has_labels else 0,
        depth=measure_meters(image.depth) if "depth" in tasks else None,
    )


def measure_dataset(dataset: PerspectiveDataset, num_workers: int | None) -> Iterator[ObjectMeasurement | str]:
    """Measurements of all images of a dataset, in its order, or an error message where an image cannot be read.

    Args:
        num_workers: number of worker processes; 0: reads in this process. None: see `default_workers`.
    """
    if num_workers is None:
        num_workers = default_workers(len(dataset))
    return iter(DataLoader(_Measurements(dataset), batch_size=None, num_workers=num_workers))


def evaluate_objects(
    measured: Sequence[ObjectMeasurement], tasks: Sequence[str], names: Sequence[str]
) -> list[Finding]:
    """Evaluate the measurements of all images, one finding per check.

    Args:
        tasks: tasks of the dataset.
        names: class names.
    """
    findings = []
    if DETECTION in tasks:
        findings.append(_evaluate_boxes(measured, names))
    if "segmentation" in tasks:
        findings.append(_evaluate_labels(measured))
    if "depth" in tasks:
        ids, depths = [one.id for one in measured], [one.depth for one in measured]
        findings.append(evaluate_depth(ids, depths, relative_to_largest=False, noun="images"))
    return findings


def _evaluate_boxes(measured: Sequence[ObjectMeasurement], names: Sequence[str]) -> Finding:
    counts = np.sum([one.objects for one in measured], axis=0)
    difficult = sum(one.num_difficult for one in measured)
    empty = sum(not one.objects.any() for one in measured)
    finding = Finding(
        "objects", [f"{counts.sum()}, and {difficult} difficult; {empty} images have none"], noun="images"
    )
    if not counts.any():
        finding.problems.append("no image has an object")
    never = [name for name, number in zip(names[1:], counts[1:], strict=True) if not number]
    if never:
        finding.rows.append(f"never: {', '.join(never)}")
    outliers = [f"{one.id}: {one.num_outside} objects beyond the image" for one in measured if one.num_outside]
    finding.add_outliers(outliers, len(measured), "objects beyond the image", TOLERATED_OUTLIERS)
    return finding


def _evaluate_labels(measured: Sequence[ObjectMeasurement]) -> Finding:
    with_labels = sum(one.labels is not None for one in measured)
    finding = Finding("labels", [f"in {with_labels} of {len(measured)} images"], noun="images")
    if not with_labels:
        finding.problems.append("no image has labels")
    compared, filled = (sum(getattr(one, name) for one in measured) for name in ("num_compared", "num_filled"))
    if compared:
        finding.rows.append(f"{filled / compared:.1%} of the boxes there hold labels of their class")
        if filled < _MIN_FILLED * compared:
            finding.problems.append("boxes and labels do not match")
    return finding


def _is_filled(box: np.ndarray, labels: np.ndarray) -> bool:
    """Whether a box (x1, y1, x2, y2, class, ...) contains labels (H, W) of its class."""
    x1, y1, x2, y2 = (round(float(number)) for number in box[:4])
    return bool((labels[y1 : y2 + 1, x1 : x2 + 1] == int(box[4])).any())


class _Measurements(Dataset):
    """The measurements of the images of a dataset."""

    def __init__(self, dataset: PerspectiveDataset):
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> ObjectMeasurement | str:
        try:
            image = self._dataset.read(index)
        except UserError as error:
            return str(error)
        return measure_objects(image, self._dataset.tasks, len(self._dataset.classes))
