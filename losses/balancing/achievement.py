"""Achievement-based balancing."""

import torch

from losses.balancing.accuracy import AccuracyWeights


class Achievement(AccuracyWeights):
    """Weights from each task's remaining gap to its potential (Yun & Cho, ICCV 2023):

        w = softmax_t(r_t),  r_t = max(0, 1 - k_t / (P_t (1 + m)))^gamma

    with smoothed accuracy k_t, potential P_t (the accuracy of a single-task network), margin m and focusing factor
    gamma. They are exponents of a geometric mean (`achievement`) or weights of a sum (`achievement-arithmetic`). They
    are equal until all accuracies are known, and change after each validation.

    The released code lacks the maximum, so that a task above its potential regains weight or crashes the training. It
    updates accuracies twice per validation when network weights are averaged, and does not save them in checkpoints.

    Args:
        tasks: task names in the order of the network.
        geometric: use the weights as exponents of a geometric mean.
        potential: P_t of each task, above 0 and up to 1.
        margin: m.
        focusing_factor: gamma.
        keep_exponents: see `WeightedLosses`.
    """

    def __init__(
        self,
        tasks: tuple[str, ...],
        geometric: bool,
        potential: dict[str, float],
        margin: float,
        focusing_factor: float,
        keep_exponents: bool = False,
    ):
        super().__init__(tasks, geometric, keep_exponents)
        self._focusing_factor = focusing_factor
        self.register_buffer("_goals", torch.tensor([potential[task] * (1 + margin) for task in tasks]))

    def task_weights(self) -> torch.Tensor:
        gaps = (1 - self.accuracies / self._goals).clamp_min(0) ** self._focusing_factor  # r_t
        return torch.softmax(torch.where(gaps.isnan().any(), 0, gaps), dim=0)
