"""What defines a task: in both programs (`Task`), and on panoramas in addition (`PanoramaTask`)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from losses.reduction import LossSum
from metrics.constant_baselines import ConstantBaseline
from metrics.fixed_maps import FixedMap
from metrics.seam import ColumnDifference
from metrics.task_metric import TaskMetric
from tasks.view_averaging import MapAveraging
from visual.displays import Display, PixelDisplay


@dataclass(frozen=True)
class Task:
    """Everything that distinguishes a task from others.

    Attributes:
        name: name in options, predictions and results.
        folder: name in folders and files, as in the released code (which calls segmentation "semantic").
        loss: function of the prediction (B, ., H, W) and a batch with ground truth of that size; logits may be smaller.
        valid_mask: returns a boolean tensor, true where a batch has ground truth.
        loss_weight: w_t in the total loss, by default: that of the released code.
        metric: its metrics: a subclass of `TaskMetric`, or a function with the same arguments.
        best_metric: metric that selects the best model.
        higher_is_better: whether higher values of `best_metric` are better.
        accuracy_metric: metric used as accuracy, and its maximum.
        display: visualization of maps.
        pseudo_loss: loss with respect to a teacher, see `training.objective.LossTerm`; None: no teachers.
    """

    name: str
    folder: str
    loss: Callable[[Tensor, dict], LossSum]
    valid_mask: Callable[[dict], Tensor]
    loss_weight: float
    metric: Callable[..., TaskMetric]
    best_metric: str
    higher_is_better: bool
    accuracy_metric: tuple[str, float]
    display: Display
    pseudo_loss: Callable[[Tensor, Tensor, Tensor], LossSum] | None = field(default=None, kw_only=True)

    def is_better(self, score: float | None, best: float | None) -> bool:
        """Whether a score is better than the best so far; False for None (no score) and NaN."""
        if score is None or math.isnan(score):
            return False
        return best is None or (score > best if self.higher_is_better else score < best)

    def accuracy(self, metrics: dict[str, float]) -> float | None:
        """Accuracy in [0, 1] from metrics of the task; None if unavailable."""
        name, maximum = self.accuracy_metric
        value = metrics.get(name)
        return None if value is None or not math.isfinite(value) else value / maximum


@dataclass(frozen=True)
class PanoramaTask(Task):
    """A task on panoramas.

    Attributes:
        display: visualization of maps with a value for each pixel.
        unit: unit of `best_metric`; "m" stands for the dataset's unit of depth.
        image_metric: metric that ranks images; `higher_is_better` also applies to it.
        constant: returns the constant baseline, given num_classes.
        fixed_map: baseline that predicts the same map for every panorama.
        column_difference: difference between neighboring columns of a prediction, for the seam score.
        averaging: averaging of the predictions for several views.
    """

    display: PixelDisplay
    unit: str
    image_metric: str
    constant: Callable[[int], ConstantBaseline]
    fixed_map: type[FixedMap]
    column_difference: ColumnDifference
    averaging: MapAveraging
