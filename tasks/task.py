"""Definition of a task, of both programs and of panoramas."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from losses.reduction import LossSum
from metrics.constant_baselines import ConstantBaseline
from metrics.fixed_maps import FixedMap
from metrics.perspective import PerspectiveMetric
from metrics.seam import ColumnDifference
from metrics.task_metric import TaskMetric
from tasks.averaging import MapAveraging
from visual.displays import Display, PixelDisplay


@dataclass(frozen=True)
class Task:
    """Everything that distinguishes a task from others.

    Attributes:
        name: its name in options, predictions and results.
        folder: its name in folders and files, as in the released code (which calls segmentation "semantic").
        loss: of (prediction, batch): the prediction (B, ., H, W) and the ground truth of the batch at the same size.
        valid_mask: of (batch): a boolean tensor, true where there is ground truth.
        loss_weight: in the released code.
        metric: from (num_classes, device) to its metrics.
        best_metric: the metric that selects the best model.
        higher_is_better: of `best_metric`.
        accuracy_metric: the metric used as accuracy, and its maximum.
        display: visualization of its maps.
        pseudo_loss: against a teacher, see `training.objective.LossTerm`; None: there is none.
    """

    name: str
    folder: str
    loss: Callable[[Tensor, dict], LossSum]
    valid_mask: Callable[[dict], Tensor]
    loss_weight: float
    metric: Callable[..., TaskMetric | PerspectiveMetric]
    best_metric: str
    higher_is_better: bool
    accuracy_metric: tuple[str, float]
    display: Display
    pseudo_loss: Callable[[Tensor, Tensor, Tensor], LossSum] | None = field(default=None, kw_only=True)

    def is_better(self, score: float | None, best: float | None) -> bool:
        """Whether a score beats the best so far. None (no score) and NaN never do."""
        if score is None or math.isnan(score):
            return False
        return best is None or (score > best if self.higher_is_better else score < best)

    def accuracy(self, metrics: dict[str, float]) -> float | None:
        """Accuracy in [0, 1] from metrics of the task; None if unavailable."""
        name, top = self.accuracy_metric
        value = metrics.get(name)
        return None if value is None or not math.isfinite(value) else value / top


@dataclass(frozen=True)
class PanoramaTask(Task):
    """A task on panoramas.

    Attributes:
        display: of maps with a value at each pixel.
        unit: of `best_metric`; "m" stands for the dataset's unit of depth.
        image_metric: the metric that ranks images; `higher_is_better` applies to it, too.
        constant: from num_classes to the best constant prediction for each metric.
        fixed_map: baseline that predicts the same map for every panorama.
        column_difference: how much a prediction differs between neighboring columns, for the seam score.
        averaging: of predictions of several views.
    """

    display: PixelDisplay
    unit: str
    image_metric: str
    constant: Callable[[int], ConstantBaseline]
    fixed_map: type[FixedMap]
    column_difference: ColumnDifference
    averaging: MapAveraging
