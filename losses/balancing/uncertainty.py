"""Uncertainty weighting, as the paper's program has it."""

import torch
from torch import nn

from losses.balancing.base import Balancing
from losses.reduction import GLOBAL_BATCH, GlobalBatch, TaskLoss
from tasks import TASKS

LOSS_SCALE = 10.0


class UncertaintyWeighting(Balancing):
    """Sum over tasks of 10 w_t exp(-s_t) L_t + s_t with learnt log-variances s_t, and of the intermediate losses.

    Kendall et al., CVPR 2018. Here L_t is the final loss alone, and the intermediate losses are not weighted. Factor 10
    and w = 1, 2, 2 for depth, normal, segmentation are those of the paper's program.
    """

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__(tasks)
        self.log_variances = nn.Parameter(torch.zeros(len(tasks)))
        self._before = self._present = None  # the step: log-variances, and which tasks have labels in its batch

    def forward(
        self, final: dict[str, TaskLoss], intermediate: dict[str, TaskLoss], whole: GlobalBatch = GLOBAL_BATCH
    ) -> torch.Tensor:
        """The sum. A task without a single valid pixel adds nothing, neither loss nor s_t."""
        total = self.log_variances.new_zeros(())
        for task, log_variance in zip(self.tasks, self.log_variances, strict=True):
            weight = LOSS_SCALE * TASKS[task].loss_weight * torch.exp(-log_variance)
            # s_t is added once for all pieces of a batch together.
            total = total + (weight * final[task].value + log_variance * whole.share) * (final[task].num_pixels > 0)
        self._before = self.log_variances.detach().clone()
        self._present = torch.stack([final[task].num_pixels > 0 for task in self.tasks])
        return total + sum(loss.value for loss in intermediate.values())

    @torch.no_grad()
    def end_step(self) -> None:
        """Undo what the optimiser's momentum did to log-variances of tasks without labels."""
        self.log_variances.copy_(torch.where(self._present, self.log_variances, self._before))

    def weights(self) -> dict[str, float]:
        """exp(-s_t) of each task."""
        return dict(zip(self.tasks, torch.exp(-self.log_variances.detach()).tolist(), strict=True))
