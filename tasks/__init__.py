"""The tasks. Whatever differs between them is told here, and nowhere else asked for by name."""

from losses.depth import depth_loss
from losses.normal import normal_loss
from losses.segmentation import segmentation_loss
from metrics.constant_baselines import ConstantClass, ConstantDepth, ConstantNormal
from metrics.depth import DepthMetric
from metrics.fixed_maps import BoxRoomNormals, RowMajorityClass, RowMeanDepth
from metrics.normal import NormalMetric
from metrics.seam import depth_changes, label_changes, normal_changes
from metrics.segmentation import SegmentationMetric
from tasks.averaging import MapAveraging, NormalAveraging
from tasks.display import DepthDisplay, LabelDisplay, NormalDisplay
from tasks.task import Task

DEPTH = Task(
    name="depth",
    folder="depth",
    loss=depth_loss,
    loss_weight=1.0,
    metric=DepthMetric,
    best_metric="rms",
    higher_is_better=False,
    unit="m",
    image_figure="rms",
    accuracy_metric=("a1", 1.0),
    constant=ConstantDepth,
    fixed_map=RowMeanDepth,
    changes=depth_changes,
    averaging=MapAveraging(),
    display=DepthDisplay(),
)
NORMAL = Task(
    name="normal",
    folder="normal",
    loss=normal_loss,
    loss_weight=2.0,
    metric=NormalMetric,
    best_metric="mean",
    higher_is_better=False,
    unit="°",
    image_figure="mean",
    accuracy_metric=("a3", 100.0),  # % below 11.25 degrees
    constant=ConstantNormal,
    fixed_map=BoxRoomNormals,
    changes=normal_changes,
    averaging=NormalAveraging(),
    display=NormalDisplay(),
)
SEGMENTATION = Task(
    name="segmentation",
    folder="semantic",
    loss=segmentation_loss,
    loss_weight=2.0,
    metric=SegmentationMetric,
    best_metric="mIoU",
    higher_is_better=True,
    unit="",
    image_figure="mIoU_occurring",
    accuracy_metric=("mIoU", 1.0),
    constant=ConstantClass,
    fixed_map=RowMajorityClass,
    changes=label_changes,
    averaging=MapAveraging(),
    display=LabelDisplay(),
)

# In this order everywhere: results, log-variances, and the other two tasks in cross-task attention.
TASKS = {task.name: task for task in (DEPTH, NORMAL, SEGMENTATION)}
