"""What all balancing methods have in common, and the two forms of a weighted loss."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from losses.reduction import TaskLoss
from utils.distributed import all_sum, world_size

INTERMEDIATE_WEIGHT = 0.1  # of a task's intermediate loss in the loss that is balanced: 1 to 10, as in the paper's sum
_SMALLEST = 1e-12  # loss of which a logarithm is taken


class Balancing(nn.Module, ABC):
    """Turns the losses of the tasks into the one number that is minimised. Its state is in its `state_dict`.

    Apart from `uncertainty`, which is the paper's own sum, the loss of a task that is balanced is

        L_t = final loss + 0.1 * intermediate loss.

    Args:
        tasks: their names, in the order of the network's.

    Attributes:
        needs_loss_values: whether the method uses the values of the losses over all processes, beyond being linear.
        gradient_scope: which parameters' gradients of each L_t the method wants in every step: ``"none"``,
            ``"last shared layer"``, or ``"shared"``, all that several tasks share.
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
        """The number to be minimised, from the losses of each task in one batch.

        A task without a single valid pixel adds nothing.

        Args:
            final, intermediate: of each task; `intermediate` may be empty.
            fractions: (T,), of the labelled pixels of all batches of this step, those that are in this one; the numbers
                that are returned for the batches of a step are added up.
        """

    @abstractmethod
    def weights(self) -> dict[str, float]:
        """What is logged of each task: its weight, in the terms of the method."""

    def update_from_gramian(self, gramian: torch.Tensor) -> torch.Tensor | None:
        """Called in every step with the inner products (T, T) of the gradients dL_t of `gradient_scope`.

        For ``"last shared layer"`` also where they are not finite: what a bad step writes into buffers is undone.

        Returns:
            For ``"shared"``: the weight of each dL_t in the gradient of the shared parameters, (T,).
        """

    def end_step(self) -> None:
        """Called after each optimizer step, but not after one that was skipped because its losses were not finite."""

    def end_epoch(self) -> None:
        """Called after each epoch."""

    def validated(self, accuracies: dict[str, float | None]) -> None:
        """Called after each validation with the accuracy of each task, in [0, 1], None when unknown.

        They are those of the network that is saved: with a moving average of the weights, of the averaged one.
        """


def task_loss(final: torch.Tensor, intermediate: torch.Tensor | None) -> torch.Tensor:
    """L_t, the loss of a task that is balanced."""
    return final if intermediate is None else final + INTERMEDIATE_WEIGHT * intermediate


class WeightedLosses(Balancing):
    """A weighted sum or a weighted geometric mean of the L_t, with weights that are constants of the gradient.

    The geometric mean, L = prod_t L_t^{w_t} with exponents that sum to one, has the gradient
    L sum_t (w_t / L_t) dL_t. That is the gradient of the sum of c_t L_t with constant c_t = w_t L / L_t, whose value is
    L too, and so it is computed: sums can be split over processes, products cannot. Multiplying one L_t by a constant
    multiplies L, and leaves the direction of its gradient as it was. Where a step has several batches, each has its own
    c_t.

    A task without labels in the batch is left out of the mean, the others' exponents growing to a sum of one. (In the
    released program of Yun & Cho, ICCV 2023, its loss of 0 makes the product 0 and its gradient NaN.)

    Args:
        tasks: their names, in the order of the network's.
        geometric: which of the two.
    """

    def __init__(self, tasks: tuple[str, ...], geometric: bool):
        super().__init__(tasks)
        self.geometric = geometric
        self.needs_loss_values = geometric
        self._values = self._present = None  # of this step: loss of each task, and whether it has labels

    def begin_step(self) -> None:
        self._values = self._present = None

    @abstractmethod
    def task_weights(self) -> torch.Tensor:
        """Weights (T,) of the sum, as the method defines them; of the geometric mean they are the exponents' ratios."""

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
        return (coefficients * values).sum()

    def _note(self, values: torch.Tensor, present: torch.Tensor) -> None:
        """Add up what the batches of a step contribute."""
        if self._values is None:
            self._values, self._present = values, present
        else:
            self._values, self._present = self._values + values, self._present | present

    def coefficients(self, values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """The weight of each dL_t, (T,), given the losses (T,) of the batch and which tasks have labels in it, (T,)."""
        weights = self.task_weights().to(values)
        if not self.geometric:
            return weights
        exponents = _sum_to_one(weights * present)
        values = values.clamp_min(_SMALLEST)
        mean = (exponents * values.log()).sum().exp()
        return exponents * mean / values

    def weights(self) -> dict[str, float]:
        """Weights of the sum, or exponents of the mean."""
        weights = self.task_weights()
        if self.geometric:
            weights = _sum_to_one(weights)
        return dict(zip(self.tasks, weights.tolist(), strict=True))


def _sum_to_one(weights: torch.Tensor) -> torch.Tensor:
    """Weights (T,), 0 or more, divided by their sum; all 0 stay 0."""
    return weights / weights.sum().clamp_min(_SMALLEST)
