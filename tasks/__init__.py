"""The tasks of Elite360M and everything that distinguishes them. For perspective images see `tasks.perspective`."""

import torch

from losses.depth import berhu_loss
from losses.normal import normal_loss
from losses.segmentation import segmentation_loss
from metrics.baselines import Baselines
from metrics.boundaries import BOUNDARIES
from metrics.consistency import CONSISTENCY
from metrics.constant_baselines import ConstantClass, ConstantDepth, ConstantNormal
from metrics.cube_seams import CUBE_SEAMS
from metrics.depth import DepthMetric
from metrics.evaluator import Evaluator
from metrics.fixed_maps import BoxRoomNormals, RowMajorityClass, RowMeanDepth
from metrics.normal import NormalMetric
from metrics.normal_mse import NORMAL_MSE
from metrics.points import POINTS
from metrics.protocol import EXTRA_METRIC_TASKS, Protocol
from metrics.seam import depth_differences, label_differences, normal_differences
from metrics.segmentation import SegmentationMetric
from metrics.task_metric import RELEASED
from tasks.task import PanoramaTask
from tasks.view_averaging import MapAveraging, NormalAveraging
from utils.tasks import IGNORE_LABEL
from visual.map_displays import DepthDisplay, LabelDisplay, NormalDisplay

DEPTH = PanoramaTask(
    name="depth",
    folder="depth",
    loss=berhu_loss,
    valid_mask=lambda batch: batch["depth_mask"],
    loss_weight=1.0,
    metric=DepthMetric,
    best_metric="rms",
    higher_is_better=False,
    unit="m",
    image_metric="rms",
    accuracy_metric=("a1", 1.0),
    constant=ConstantDepth,
    fixed_map=RowMeanDepth,
    column_difference=depth_differences,
    averaging=MapAveraging(),
    display=DepthDisplay(),
)
NORMAL = PanoramaTask(
    name="normal",
    folder="normal",
    loss=normal_loss,
    valid_mask=lambda batch: batch["normal_mask"],
    loss_weight=2.0,
    metric=NormalMetric,
    best_metric="mean",
    higher_is_better=False,
    unit="°",
    image_metric="mean",
    accuracy_metric=("a3", 100.0),  # % below 11.25 degrees
    constant=ConstantNormal,
    fixed_map=BoxRoomNormals,
    column_difference=normal_differences,
    averaging=NormalAveraging(),
    display=NormalDisplay(),
)
SEGMENTATION = PanoramaTask(
    name="segmentation",
    folder="semantic",
    loss=segmentation_loss,
    valid_mask=lambda batch: batch["semantic"] != IGNORE_LABEL,
    loss_weight=2.0,
    metric=SegmentationMetric,
    best_metric="mIoU",
    higher_is_better=True,
    unit="",
    image_metric="mIoU_occurring",
    accuracy_metric=("mIoU", 1.0),
    constant=ConstantClass,
    fixed_map=RowMajorityClass,
    column_difference=label_differences,
    averaging=MapAveraging(),
    display=LabelDisplay(),
)

# In the order of results, of log-variances, and of the other two tasks in cross-task attention.
TASKS = {task.name: task for task in (DEPTH, NORMAL, SEGMENTATION)}
EXTRA_METRICS = dict(zip(EXTRA_METRIC_TASKS, (CONSISTENCY, POINTS, BOUNDARIES, CUBE_SEAMS, NORMAL_MSE), strict=True))
FOLDERS = {name: task.folder for name, task in TASKS.items()}
DISPLAYS = {name: task.display for name, task in TASKS.items()}


def build_evaluator(
    tasks: tuple[str, ...],
    num_classes: int,
    device: torch.device | str = "cpu",
    with_breakdown: bool = False,
    protocol: Protocol = RELEASED,
) -> Evaluator:
    """An evaluator of these tasks; for the arguments see `metrics.task_metric.TaskMetric`.

    Extra metrics that also need predictions of other tasks are skipped.
    """
    metrics = {task: TASKS[task].metric(num_classes, device, with_breakdown, protocol) for task in tasks}
    extra = tuple(EXTRA_METRICS[name] for name in protocol.more if set(EXTRA_METRIC_TASKS[name]) <= set(tasks))
    return Evaluator(metrics, {task: TASKS[task].column_difference for task in tasks}, extra)


def build_baselines(
    tasks: tuple[str, ...],
    num_classes: int,
    height: int,
    width: int,
    normal_frame: str,
    protocol: Protocol = RELEASED,
) -> Baselines:
    """The baselines of these tasks for panoramas of H x W pixels.

    Args:
        tasks: names of the tasks.
        num_classes: K.
        height, width: H, W.
        normal_frame: "camera" or "world", the frame of the ground truth normals; in the world frame, normals have no
            fixed map.
        protocol: evaluation protocol.
    """
    maps = {task: TASKS[task].fixed_map(num_classes, height, width) for task in tasks}
    return Baselines(
        constants={task: TASKS[task].constant(num_classes) for task in tasks},
        maps={task: fixed for task, fixed in maps.items() if normal_frame == "camera" or not fixed.needs_camera_frame},
        build_evaluator=lambda names, device, with_breakdown: build_evaluator(
            names, num_classes, device, with_breakdown, protocol
        ),
    )
