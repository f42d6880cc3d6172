"""Dynamic weight average."""

import torch

from losses.balancing.base import WeightedLosses

TEMPERATURE = 2.0


class DynamicWeightAverage(WeightedLosses):
    """w_t = T softmax_t(rho_t / tau) with rho_t = L_t(e - 1) / L_t(e - 2), tau = 2 (Liu et al., CVPR 2019, eq. 7).

    A task whose loss falls slowly gets a larger weight. L_t(e) is the mean over the steps of epoch e in which the task
    has labels; weights are 1 in the first two epochs. (The released code of Yun & Cho multiplies by the temperature
    instead of dividing, compares sums over different numbers of steps, and updates weights within epochs.)

    The geometric form uses the exponents softmax_t(rho_t / tau).
    """

    def __init__(self, tasks: tuple[str, ...], geometric: bool, keep_exponents: bool = False):
        super().__init__(tasks, geometric, keep_exponents)
        self.needs_loss_values = True
        for name in ("_sums", "_counts"):  # over the steps of this epoch
            self.register_buffer(name, torch.zeros(len(tasks)))
        for name in ("_last", "_before"):  # mean losses of the last two epochs; NaN before them
            self.register_buffer(name, torch.full((len(tasks),), torch.nan))

    def task_weights(self) -> torch.Tensor:
        ratios = self._last / self._before
        ratios = torch.where(ratios.isfinite(), ratios, 1.0)
        return len(self.tasks) * torch.softmax(ratios / TEMPERATURE, dim=0)

    def end_step(self) -> None:
        self._sums += torch.where(self._present, self._values, 0)
        self._counts += self._present

    def end_epoch(self) -> None:
        means = self._sums / self._counts
        has_labels = self._counts > 0  # other tasks keep their means
        self._before.copy_(torch.where(has_labels, self._last, self._before))
        self._last.copy_(torch.where(has_labels, means, self._last))
        self._sums.zero_()
        self._counts.zero_()
