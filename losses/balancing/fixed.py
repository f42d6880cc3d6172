"""Constant weights: a weighted sum, or a geometric mean with equal exponents."""

from collections.abc import Mapping

import torch

from losses.balancing.base import WeightedLosses


class FixedWeights(WeightedLosses):
    """sum_t w_t L_t.

    Args:
        tasks: task names in the order of the network.
        loss_weights: w_t of each task.
    """

    def __init__(self, tasks: tuple[str, ...], loss_weights: Mapping[str, float]):
        super().__init__(tasks, geometric=False)
        self.register_buffer("_weights", torch.tensor([float(loss_weights[task]) for task in tasks]))

    def task_weights(self) -> torch.Tensor:
        return self._weights


class GeometricLoss(WeightedLosses):
    """prod_t L_t^{1/T}, the geometric loss strategy (Chennupati et al., MultiNet++, CVPR Workshops 2019).

    Args:
        tasks: task names in the order of the network.
        keep_exponents: see `WeightedLosses`.
    """

    def __init__(self, tasks: tuple[str, ...], keep_exponents: bool = False):
        super().__init__(tasks, True, keep_exponents)
        self.register_buffer("_weights", torch.ones(len(tasks)))

    def task_weights(self) -> torch.Tensor:
        return self._weights
