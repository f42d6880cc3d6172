"""Weights that never change."""

import torch

from losses.balancing.base import WeightedLosses
from tasks import TASKS


class FixedWeights(WeightedLosses):
    """sum_t w_t L_t.

    Args:
        tasks: in the order of `tasks.TASKS`.
        loss_weights: w_t; 1, 2, 2 for depth, normal, segmentation where not given, the ratios of the paper's program.
    """

    def __init__(self, tasks: tuple[str, ...], loss_weights: dict[str, float] | None = None):
        super().__init__(tasks, geometric=False)
        weights = {task: TASKS[task].loss_weight for task in tasks} | (loss_weights or {})
        self.register_buffer("_weights", torch.tensor([weights[task] for task in tasks]))

    def task_weights(self) -> torch.Tensor:
        return self._weights


class GeometricLoss(WeightedLosses):
    """prod_t L_t^{1/T}, the geometric loss strategy (Chennupati et al., MultiNet++, CVPR Workshops 2019)."""

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__(tasks, geometric=True)
        self.register_buffer("_weights", torch.ones(len(tasks)))

    def task_weights(self) -> torch.Tensor:
        return self._weights
