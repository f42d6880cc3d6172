"""Dynamic task prioritization."""

import torch

from losses.balancing.accuracy import AccuracyWeights

LOWEST_ACCURACY = 1e-3  # bounds the weight of a task with almost no accuracy


class DynamicTaskPrioritization(AccuracyWeights):
    """w_t = -(1 - k_t)^gamma log k_t of the smoothed accuracy k_t (Guo et al., ECCV 2018, eq. 4).

    Difficult tasks get more weight. Weights are 1 before the first validation; accuracies below 0.001 count as 0.001.
    (The released code of Yun & Cho adds 1e-20 instead, which gives a task with accuracy 0 a weight of 46.)

    The geometric form divides the weights by their sum.

    Args:
        tasks: task names in the order of the network.
        geometric: use the weights as exponents of a geometric mean.
        focusing_factor: gamma.
        keep_exponents: see `WeightedLosses`.
    """

    def __init__(self, tasks: tuple[str, ...], geometric: bool, focusing_factor: float, keep_exponents: bool = False):
        super().__init__(tasks, geometric, keep_exponents)
        self._focusing_factor = focusing_factor

    def task_weights(self) -> torch.Tensor:
        accuracies = self.accuracies.clamp(LOWEST_ACCURACY, 1)
        weights = -((1 - accuracies) ** self._focusing_factor) * accuracies.log()
        return torch.where(accuracies.isnan(), 1.0, weights)
