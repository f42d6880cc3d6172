"""One number for the metrics of all tasks: what says which epoch was the best, and what balancing follows."""

import math
from collections.abc import Mapping

# Of each task (metric, sign of its exponent): the sign is -1 where less is better.
SUMMARIZED = {
    "detection": (("mAP", 1),),
    "segmentation": (("mIoU", 1),),
    "depth": (("d1", 1), ("rms", -1)),
    "normal": (("11.25", 1), ("mean", -1), ("median", -1)),
}
# Of each task the metric, 0 to 1, that achievement-based balancing takes for its accuracy.
ACCURACY = {"detection": "mAP", "segmentation": "mIoU", "depth": "d1", "normal": "11.25"}


def summary_score(metrics: Mapping[str, Mapping[str, float]]) -> float:
    """The geometric mean over tasks of the geometric mean of each task's metrics in SUMMARIZED, or of 1 over them.

    More is better. The score is 0 when one of the metrics is 0, and NaN when one is NaN or no task has metrics.

    Args:
        metrics: of each task, by their names in `metrics.perspective` and `metrics.detection`; tasks without any do not
            count.
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
