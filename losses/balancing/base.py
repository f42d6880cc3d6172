"""Base classes of the balancing methods, and the two forms of a weighted loss."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from losses.reduction import TaskLoss
from utils.distributed import all_sum, world_size

INTERMEDIATE_WEIGHT = 0.1  # of the intermediate loss in L_t: 1 to 10, as in the paper's sum
_SMALLEST = 1e-12  # lower bound of losses in logarithms


class Balancing(nn.Module, ABC):
    """Combines the losses of the tasks into the total loss. Its state is in its `state_dict`.

    Except in `uncertainty`, the paper's sum, the loss of a task that is balanced is

        L_t = final loss + 0.1 * intermediate loss.

    Args:
        tasks: names, in the same order as those of the network.

    Attributes:
        needs_loss_values: whether the method needs the values of the global losses, not only their gradients.
        gradient_scope: the parameters for which the method needs the gradients of each L_t in every step: ``"none"``,
            ``"last shared layer"``, or ``"shared"``, all shared parameters.
    """

    needs_loss_values = False
    gradient_scope = "none"

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks = tasks

    def begin_step(self) -> None:
        """Called before the forward passes of each optimizer step."""

    @abstractmethod
    def forward(
        self, final: dict[str, TaskLoss], intermediate: dict[str, TaskLoss], fractions: torch.Tensor
    ) -> torch.Tensor:
        """Total loss, from the losses of each task in one batch.

        A task without valid pixels contributes nothing.

        Args:
            final, intermediate: of each task; `intermediate` may be empty.
            fractions: (T,), the fraction of the labeled pixels of the step that are in this batch; the total loss of a
                step is the sum over its batches.
        """

    @abstractmethod
    def weights(self) -> dict[str, float]:
        """The weight of each task, as defined by the method, for the log."""

    def update_from_gramian(self, gramian: torch.Tensor) -> torch.Tensor | None:
        """Called in every step with the inner products (T, T) of the gradients dL_t of `gradient_scope`.

        For ``"last shared layer"`` also where they are not finite: what a bad step writes into buffers is undone.

        Returns:
            For ``"shared"``: the weight of each dL_t in the gradient of the shared parameters, (T,).
        """

    def end_step(self) -> None:
        """Called after each optimizer step, except steps that were skipped because of non-finite losses.

        Or also after those: then their changes of buffers are undone, and `undo_step` is called before the next call.
        """

    def undo_step(self) -> None:
        """Undo what `end_step` changed besides buffers; called before the next `end_step`."""

    def end_epoch(self) -> None:
        """Called after each epoch."""

    def validated(self, accuracies: dict[str, float | None]) -> None:
        """Called after each validation with the accuracy of each task, in [0, 1], None if unavailable.

        With a moving average of the weights, they are those of the averaged network.
        """


def task_loss(final: torch.Tensor, intermediate: torch.Tensor | None) -> torch.Tensor:
    """L_t, the loss of a task that is balanced."""
    return final if intermediate is None else final + INTERMEDIATE_WEIGHT * intermediate


class WeightedLosses(Balancing):
    """A weighted sum or a weighted geometric mean of the L_t, whose weights are constants for the gradient.

    The geometric mean, L = prod_t L_t^{w_t} with exponents that sum to one, has the gradient
    L sum_t (w_t / L_t) dL_t. It is computed as the sum of c_t L_t with constants c_t = w_t L / L_t, which has the same
    value and gradient, because sums can be split over processes and products cannot. Scaling one L_t scales L, but
    does not change the direction of its gradient. If a step has several batches, each has separate c_t.

    A task without labels in the batch is excluded from the mean, and the exponents of the others are rescaled to sum to
    one, or kept as they are: then batches with fewer labels have smaller gradients where losses are below 1. (In the
    released code of Yun & Cho, ICCV 2023, its loss of 0 makes the product 0 and its gradient NaN.)

    Args:
        tasks: names, in the same order as those of the network.
        geometric: a geometric mean instead of a sum.
        keep_exponents: of the geometric mean, when tasks have no labels in the batch.
    """

    def __init__(self, tasks: tuple[str, ...], geometric: bool, keep_exponents: bool = False):
        super().__init__(tasks)
        self.geometric = geometric
        self.keep_exponents = keep_exponents
        self.needs_loss_values = geometric
        self._values = self._present = None  # of this step: loss of each task, and whether it has labels

    def begin_step(self) -> None:
        self._values = self._present = None

    @abstractmethod
    def task_weights(self) -> torch.Tensor:
        """Weights (T,) of the sum; for the geometric mean the exponents, up to a factor."""

    def forward(
        self, final: dict[str, TaskLoss], intermediate: dict[str, TaskLoss], fractions: torch.Tensor
    ) -> torch.Tensor:
        values, counts = [], []
        for task in self.tasks:
            small = intermediate.get(task)
            values.append(task_loss(final[task].value, small.value if small else None))
            counts.append(final[task].num_pixels + (small.num_pixels if small else 0))
        values, present = torch.stack(values), torch.stack(counts) > 0
        with torch.no_grad():
            global_values = all_sum(values) / world_size() if self.needs_loss_values else values.detach()
            coefficients = fractions * self.coefficients(global_values, present)
            self._note(fractions * global_values, present)
        total = (coefficients * values).sum()
        if self.keep_exponents:  # the gradient is that of the product, the value not yet
            total = total + total.detach() * (1 / self._exponents(present).sum().clamp_min(_SMALLEST) - 1)
        return total

    def _note(self, values: torch.Tensor, present: torch.Tensor) -> None:
        """Accumulate the losses of the batches of a step."""
        if self._values is None:
            self._values, self._present = values, present
        else:
            self._values, self._present = self._values + values, self._present | present

    def coefficients(self, values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """The weight of each dL_t, (T,), given the losses (T,) of the batch and which tasks have labels in it (T,)."""
        if not self.geometric:
            return self.task_weights().to(values)
        exponents = self._exponents(present).to(values)
        values = values.clamp_min(_SMALLEST)
        mean = (exponents * values.log()).sum().exp()
        return exponents * mean / values

    def _exponents(self, present: torch.Tensor) -> torch.Tensor:
        """Exponents (T,) of the mean, 0 for tasks without labels, given which have some (T,)."""
        weights = self.task_weights()
        return _sum_to_one(weights) * present if self.keep_exponents else _sum_to_one(weights * present)

    def weights(self) -> dict[str, float]:
        """Weights of the sum, or exponents of the mean."""
        weights = self.task_weights()
        if self.geometric:
            weights = _sum_to_one(weights)
        return dict(zip(self.tasks, weights.tolist(), strict=True))


def _sum_to_one(weights: torch.Tensor) -> torch.Tensor:
    """Weights (T,), 0 or more, divided by their sum; all 0 stay 0."""
    return weights / weights.sum().clamp_min(_SMALLEST)
