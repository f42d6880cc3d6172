"""The tasks of DeepLab on images of perspective cameras, as in the experiments of Yun & Cho, ICCV 2023."""

from functools import partial

import torch

from losses.perspective import depth_loss, normal_loss, segmentation_loss
from metrics.evaluator import Evaluator
from metrics.perspective import DepthMetric, NormalMetric, SegmentationMetric
from metrics.summary import ACCURACY
from tasks import DEPTH, NORMAL, SEGMENTATION
from tasks.task import Task


def perspective_tasks(names: tuple[str, ...], label_smoothing: float = 0.0) -> dict[str, Task]:
    """The tasks of these names, in this order.

    Their models are the best by what the paper takes for accuracies: mIoU, and the fractions of pixels with
    delta < 1.25 and below 11.25 degrees. Loss weights are 1/T.

    Args:
        names: some of `utils.tasks.TASK_NAMES`.
        label_smoothing: of the loss of segmentation, 0 to 1.
    """
    losses = {
        "depth": depth_loss,
        "normal": normal_loss,
        "segmentation": partial(segmentation_loss, label_smoothing=label_smoothing),
    }
    metrics = {"depth": DepthMetric, "normal": NormalMetric, "segmentation": SegmentationMetric}
    tasks = {}
    for name in names:
        of_panoramas = {"depth": DEPTH, "normal": NORMAL, "segmentation": SEGMENTATION}[name]
        tasks[name] = Task(
            name=name,
            folder=of_panoramas.folder,
            loss=losses[name],
            valid_mask=of_panoramas.valid_mask,
            loss_weight=1 / len(names),
            metric=metrics[name],
            best_metric=ACCURACY[name],
            higher_is_better=True,
            accuracy_metric=(ACCURACY[name], 1.0),
            display=of_panoramas.display,
        )
    return tasks


def build_evaluator(tasks: dict[str, Task], num_classes: int, device: torch.device | str = "cpu") -> Evaluator:
    """An evaluator of these tasks, without a seam score: these images have two ends."""
    return Evaluator({name: task.metric(num_classes, device) for name, task in tasks.items()})
