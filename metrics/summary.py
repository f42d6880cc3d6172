"""A single score of all tasks, by which the best epoch is chosen, and the accuracies used by balancing."""

import math
from collections.abc import Mapping

# Metrics of each task and the sign of their exponents: -1 where lower is better.
SUMMARIZED = {
    "detection": (("mAP", 1),),
    "segmentation": (("mIoU", 1),),
    "depth": (("d1", 1), ("rms", -1)),
    "normal": (("11.25", 1), ("mean", -1), ("median", -1)),
}
# Metric of each task, 0 to 1, that achievement-based balancing uses as accuracy.
ACCURACY = {"detection": "mAP", "segmentation": "mIoU", "depth": "d1", "normal": "11.25"}


def summary_score(metrics: Mapping[str, Mapping[str, float]]) -> float:
    """The geometric mean over tasks of the geometric mean of each task's metrics in SUMMARIZED, inverted for sign -1.

    Higher is better. The score is 0 if a metric is 0, otherwise NaN if a metric is NaN or no task has metrics.

    Args:
        metrics: metrics of each task, see `metrics.perspective` and `metrics.detection`; tasks without any are skipped.
    """
    scores = [_task_score(task, values) for task, values in metrics.items() if values]
    return _geometric_mean(scores)


def _task_score(task: str, metrics: Mapping[str, float]) -> float:
    terms = SUMMARIZED[task]
    if any(metrics[name] == 0 for name, _ in terms):
        return 0.0
    return _geometric_mean([metrics[name] ** sign for name, sign in terms])


def _geometric_mean(values: list[float]) -> float:
    return math.prod(values) ** (1 / len(values)) if values else math.nan
