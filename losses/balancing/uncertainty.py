"""Uncertainty weighting: the total loss of Elite360M, as in the released code."""

from collections.abc import Mapping

import torch
from torch import nn

from losses.balancing.base import Balancing
from losses.reduction import MeanLoss

LOSS_SCALE = 10.0


class UncertaintyWeighting(Balancing):
    """The paper's total loss, with learned log-variances s_t (Kendall et al., CVPR 2018):

        sum_t [10 w_t exp(-s_t) F_t + s_t] + sum_t I_t

    with the final loss F_t and the intermediate loss I_t of task t. The factor 10 and w = 1, 2, 2 for depth, normal,
    segmentation are those of the released code.

    Args:
        tasks: task names in the order of the network.
        loss_weights: w_t of each task.
    """

    def __init__(self, tasks: tuple[str, ...], loss_weights: Mapping[str, float]):
        super().__init__(tasks)
        self._loss_weights = [loss_weights[task] for task in tasks]
        self.log_variances = nn.Parameter(torch.zeros(len(tasks)))
        self.begin_step()

    def begin_step(self) -> None:
        """Store the log-variances before the step, and forget which tasks had labels in the last one."""
        self._before, self._present = self.log_variances.detach().clone(), torch.zeros_like(self.log_variances).bool()

    def forward(
        self, final: dict[str, MeanLoss], intermediate: dict[str, MeanLoss], fractions: torch.Tensor
    ) -> torch.Tensor:
        """The total loss. A task without valid pixels contributes neither its losses nor s_t."""
        total = self.log_variances.new_zeros(())
        for i, task in enumerate(self.tasks):
            log_variance = self.log_variances[i]
            weight = LOSS_SCALE * self._loss_weights[i] * torch.exp(-log_variance)
            total = total + fractions[i] * (weight * final[task].value + log_variance) * (final[task].num_pixels > 0)
        self._present = self._present | torch.stack([final[task].num_pixels > 0 for task in self.tasks])
        return total + sum(fractions[self.tasks.index(task)] * loss.value for task, loss in intermediate.items())

    @torch.no_grad()
    def end_step(self) -> None:
        """Restore the log-variances of tasks without labels, which the optimizer's momentum has moved."""
        self.log_variances.copy_(torch.where(self._present, self.log_variances, self._before))

    def weights(self) -> dict[str, float]:
        """w_t exp(-s_t) of each task: without the common factor 10, comparable with the weights of other methods."""
        factors = torch.exp(-self.log_variances.detach()).tolist()
        return {task: w * factor for task, w, factor in zip(self.tasks, self._loss_weights, factors, strict=True)}
