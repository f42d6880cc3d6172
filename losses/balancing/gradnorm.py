"""Gradient normalization."""

import torch

from losses.balancing.base import WeightedLosses

ASYMMETRY = 1.5  # alpha
LEARNING_RATE = 0.025  # of the weights


class GradNorm(WeightedLosses):
    """Learns weights with which all tasks train at similar rates (Chen et al., ICML 2018, eq. 2 and algorithm 1).

    Each step is one of gradient descent on the weights w for

        sum_t |G_t - mean(G) r_t^alpha|,  alpha = 1.5,

    where G_t = w_t |dL_t| at the last shared layer, r_t = (L_t / L_t(0)) / mean_s(L_s / L_s(0)) is the relative inverse
    training rate, and mean(G) r_t^alpha is constant in the gradient. The weights are then rescaled to a sum of T. Tasks
    without labels in the batch keep their weights and are excluded from the means. (The released code of Yun & Cho uses
    the network's learning rate for the weights, allows negative weights, and divides by zero when a task has no labels
    in the first batch.)
    """

    gradient_scope = "last shared layer"

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__(tasks, geometric=False)
        self.needs_loss_values = True
        self.register_buffer("_weights", torch.ones(len(tasks)))
        self.register_buffer("_first", torch.full((len(tasks),), torch.nan))  # L_t(0), in the first batch with labels

    def task_weights(self) -> torch.Tensor:
        return self._weights

    def update_from_gramian(self, gramian: torch.Tensor) -> None:
        present, weights = self._present, self._weights
        self._first.copy_(torch.where(self._first.isnan() & present, self._values, self._first))
        norms = gramian.diagonal().sqrt()  # |dL_t|
        gradients = weights * norms  # G_t
        rates = torch.where(present, self._values / self._first, 0)
        rates = rates * present.sum() / rates.sum()  # r_t
        targets = torch.where(present, gradients, 0).sum() / present.sum() * rates**ASYMMETRY
        descent = LEARNING_RATE * torch.sign(gradients - targets) * norms
        new = torch.where(present, (weights - descent).clamp_min(0), 0)
        new = new * torch.where(present, weights, 0).sum() / new.sum()
        self._new_weights = torch.where(present & new.isfinite().all(), new, weights)

    def end_step(self) -> None:
        self._weights.copy_(self._new_weights)
