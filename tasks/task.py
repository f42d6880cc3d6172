"""What a task is: everything that sets depth, normals and semantics apart, in one object each."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from losses.reduction import PixelLoss
from metrics.constant_baselines import ConstantBaseline
from metrics.fixed_maps import FixedMap
from metrics.seam import ColumnDifference
from metrics.task_metric import TaskMetric
from tasks.averaging import MapAveraging
from visual.displays import Display


@dataclass(frozen=True)
class Task:
    """One of the things that the network predicts.

    Attributes:
        name: its name in options, predictions and results.
        folder: its name in folders and files, which the released program spells differently for segmentation.
        loss: of (prediction, batch): the prediction (B, ., H, W) and the ground truth of the batch at the same size.
        valid_mask: of (batch): a boolean tensor, true where there is ground truth.
        loss_weight: of its loss in the released code.
        metric: from (num_classes, device, with_breakdown) to the metrics by which it is evaluated.
        best_metric: the metric that decides which model is best.
        higher_is_better: whether that metric grows with quality.
        unit: of that metric, "m" standing for the dataset's unit of depth.
        image_metric: the metric by which images are sorted from worst to best; what is better is as for best_metric.
        accuracy_metric: the metric taken as accuracy, and its best value.
        constant: from num_classes to the best constant prediction for each metric.
        fixed_map: a prediction that is the same for every panorama.
        column_difference: how much a prediction differs between neighboring columns, for the seam score.
        averaging: how predictions of several views become one.
        display: how its maps are shown.
    """

    name: str
    folder: str
    loss: Callable[[Tensor, dict], PixelLoss]
    valid_mask: Callable[[dict], Tensor]
    loss_weight: float
    metric: Callable[..., TaskMetric]
    best_metric: str
    higher_is_better: bool
    unit: str
    image_metric: str
    accuracy_metric: tuple[str, float]
    constant: Callable[[int], ConstantBaseline]
    fixed_map: type[FixedMap]
    column_difference: ColumnDifference
    averaging: MapAveraging
    display: Display

    def is_better(self, score: float | None, best: float | None) -> bool:
        """Whether a score beats the best so far; None is no score, and NaN is no better than that."""
        if score is None or math.isnan(score):
            return False
        return best is None or (score > best if self.higher_is_better else score < best)

    def accuracy(self, metrics: dict[str, float]) -> float | None:
        """Accuracy in [0, 1] from metrics of the task; None if unavailable."""
        name, top = self.accuracy_metric
        value = metrics.get(name)
        return None if value is None or not math.isfinite(value) else value / top
