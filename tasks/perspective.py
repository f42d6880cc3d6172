"""The tasks on perspective images, as in the experiments of Yun & Cho, ICCV 2023."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from datasets.perspective import PerspectiveDataset
from losses.detection import detection_loss
from losses.detection import valid_mask as boxes_mask
from losses.distillation import (
    depth_distillation,
    detection_distillation,
    normal_distillation,
    segmentation_distillation,
)
from losses.perspective import l1_depth_loss, normal_loss, segmentation_loss
from metrics.detection import DetectionMetric
from metrics.evaluator import Evaluator
from metrics.perspective import DepthMetric, NormalMetric, SegmentationMetric
from metrics.summary import ACCURACY
from networks.achievement_checkpoint import AchievementSettings
from tasks import DISPLAYS, FOLDERS, TASKS
from tasks.task import Task
from utils.tasks import DETECTION
from visual.boxes import SHOWN_SCORE, DetectionDisplay
from visual.displays import Display

PERSPECTIVE_FOLDERS = {**FOLDERS, DETECTION: DETECTION}


@dataclass(frozen=True)
class DetectionOptions:
    """Options of detection, see `losses.detection.detection_losses` and `networks.vmm.VMM`.

    Attributes:
        size: size of the images, (H, W).
        with_coco: see `metrics.detection.DetectionMetric`.
    """

    size: tuple[int, int]
    cls_head: str = "sigmoid"
    cls_loss_type: str = "focal"
    loc_loss_type: str = "IoU"
    iou_aware: bool = True
    loc_weight: float = 10.0
    with_coco: bool = False


def perspective_tasks(
    names: tuple[str, ...], label_smoothing: float = 0.0, detection: DetectionOptions | None = None
) -> dict[str, Task]:
    """Tasks by name, in the order of `names`.

    The best models are selected by the paper's accuracies: mAP, mIoU, and the fractions of pixels with delta < 1.25 and
    with angles below 11.25 degrees. Loss weights are 1/T.

    Args:
        names: T of the `utils.tasks.PERSPECTIVE_TASK_NAMES`.
        label_smoothing: label smoothing of the segmentation loss, 0 to 1.
        detection: options of detection; required for that task.
    """
    tasks = {}
    for name in names:
        task = _detection_task(detection) if name == DETECTION else _dense_task(name, label_smoothing)
        tasks[name] = replace(task, loss_weight=1 / len(names))
    return tasks


def _detection_task(options: DetectionOptions) -> Task:
    loss_options = {
        name: getattr(options, name) for name in ("cls_loss_type", "loc_loss_type", "iou_aware", "loc_weight")
    }
    return Task(
        name=DETECTION,
        folder=DETECTION,
        loss=partial(detection_loss, **loss_options),
        valid_mask=boxes_mask,
        pseudo_loss=partial(detection_distillation, loc_weight=options.loc_weight),
        loss_weight=1.0,
        metric=partial(DetectionMetric, with_coco=options.with_coco),
        best_metric=ACCURACY[DETECTION],
        higher_is_better=True,
        accuracy_metric=(ACCURACY[DETECTION], 1.0),
        display=DetectionDisplay(options.size, options.cls_head == "softmax"),
    )


def _dense_task(name: str, label_smoothing: float) -> Task:
    losses = {
        "depth": (l1_depth_loss, depth_distillation),
        "normal": (normal_loss, normal_distillation),
        "segmentation": (partial(segmentation_loss, label_smoothing=label_smoothing), segmentation_distillation),
    }
    metrics = {"depth": DepthMetric, "normal": NormalMetric, "segmentation": SegmentationMetric}
    panorama_task = TASKS[name]
    loss, pseudo_loss = losses[name]
    return Task(
        name=name,
        folder=panorama_task.folder,
        loss=loss,
        valid_mask=panorama_task.valid_mask,
        pseudo_loss=pseudo_loss,
        loss_weight=1.0,
        metric=metrics[name],
        best_metric=ACCURACY[name],
        higher_is_better=True,
        accuracy_metric=(ACCURACY[name], 1.0),
        display=panorama_task.display,
    )


def perspective_displays(settings: AchievementSettings, min_score: float = SHOWN_SCORE) -> dict[str, Display]:
    """Displays of the predictions of a network, by task.

    Args:
        settings: settings of the network.
        min_score: minimum score of displayed detections.
    """
    boxes = DetectionDisplay((settings.height, settings.width), settings.cls_head == "softmax", min_score)
    displays = {**DISPLAYS, DETECTION: boxes}
    return {task: displays[task] for task in settings.tasks}


def tasks_with_labels(tasks: Mapping[str, Task], dataset: PerspectiveDataset) -> dict[str, Task]:
    """The tasks for which a dataset has ground truth."""
    return {name: task for name, task in tasks.items() if name in dataset.labeled_tasks}


def build_evaluator(tasks: Mapping[str, Task], num_classes: int, device: torch.device | str = "cpu") -> Evaluator:
    """An evaluator of these tasks; without seam scores, as perspective images do not wrap around."""
    return Evaluator({name: task.metric(num_classes, device) for name, task in tasks.items()})
