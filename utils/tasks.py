"""The tasks: their names, folders, and the figure by which a model is best at each. Imports nothing heavy."""

import math
from dataclasses import dataclass

from utils.errors import UserError

MAX_DEPTH = 10.0  # metres: the range of the depth head and of every valid depth
IGNORE_LABEL = -1  # of pixels without a class
METRES = "metres along the ray"  # the unit of depth, in words
RELATIVE = "relative: the largest depth of each image is 10"  # Structured3D in the paper


@dataclass(frozen=True)
class Task:
    """A task as users meet it.

    Attributes:
        name: its name in options, outputs and results.
        folder: its name in folders and files, which the released program spells differently for segmentation.
        best_metric: the figure that decides which model is best.
        higher_is_better: whether that figure grows with quality.
    """

    name: str
    folder: str
    best_metric: str
    higher_is_better: bool

    def is_better(self, score: float | None, best: float | None) -> bool:
        """Whether a score beats the best so far; None is no score, and NaN is no better than that."""
        if score is None or math.isnan(score):
            return False
        return best is None or (score > best if self.higher_is_better else score < best)


# In this order everywhere: results, log-variances, and the other two tasks in cross-task attention.
TASKS = {
    task.name: task
    for task in (
        Task("depth", "depth", best_metric="rms", higher_is_better=False),
        Task("normal", "normal", best_metric="mean", higher_is_better=False),
        Task("segmentation", "semantic", best_metric="mIoU", higher_is_better=True),
    )
}

# The values of --task, in the released program's spelling and order.
TASK_VALUES = (
    *("depth", "segmentation", "normal", "depth_segmentation", "depth_normal", "normal_segmentation"),
    "depth_normal_segmentation",
)


def parse_tasks(value: str) -> tuple[str, ...]:
    """Task names, in the order of TASKS, of one value of --task such as ``depth_segmentation``.

    Raises:
        UserError: when the value is not one of TASK_VALUES.
    """
    if value not in TASK_VALUES:
        raise UserError(f"--task {value}: choose one of {', '.join(TASK_VALUES)}")
    return tuple(value.split("_"))


def join_tasks(tasks: tuple[str, ...]) -> str:
    """The value of --task for these task names: the inverse of `parse_tasks`."""
    return "_".join(tasks)
