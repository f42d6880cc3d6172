"""What all balancing methods have in common, and the two forms of a weighted loss."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from losses.reduction import GLOBAL_BATCH, GlobalBatch, TaskLoss

INTERMEDIATE_SHARE = 0.1  # of a task's intermediate loss in the loss that is balanced: 1 to 10, as in the paper's sum
_SMALLEST = 1e-12  # loss of which a logarithm is taken


class Balancing(nn.Module, ABC):
    """Turns the losses of the tasks into the one number that is minimised. Its state is in its `state_dict`.

    Apart from `uncertainty`, which is the paper's own sum, the loss of a task that is balanced is

        L_t = final loss + 0.1 * intermediate loss.

    Args:
        tasks: in the order of `tasks.TASKS`.

    Attributes:
        reads_values: whether the sum depends on the values of the losses of the whole batch, beyond being linear.
        gradients_of: which parameters' gradients of each L_t the method wants to see in every step: ``"none"``,
            ``"last shared layer"``, or ``"shared"``, all that several tasks share.
    """

    reads_values = False
    gradients_of = "none"

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks = tasks

    @abstractmethod
    def forward(
        self, final: dict[str, TaskLoss], intermediate: dict[str, TaskLoss], whole: GlobalBatch = GLOBAL_BATCH
    ) -> torch.Tensor:
        """The number to be minimised, from the losses of each task; `intermediate` may be empty.

        A task without a single valid pixel adds nothing.
        """

    @abstractmethod
    def weights(self) -> dict[str, float]:
        """What is to be told of each task: its weight, in the terms of the method."""

    def see_gradients(self, gramian: torch.Tensor) -> torch.Tensor | None:
        """Called in every step with the inner products (T, T) of the gradients dL_t of `gradients_of`.

        Returns:
            For ``"shared"``: what each dL_t counts in the gradient of the shared parameters, (T,).
        """

    def end_step(self) -> None:
        """Called after each optimiser step, but not after one that was left out as its losses were not finite."""

    def end_epoch(self) -> None:
        """Called after each epoch."""

    def validated(self, accuracies: dict[str, float | None]) -> None:
        """Called after each validation with the accuracy of each task (`tasks.Task.accuracy`), None when unknown.

        They are those of the network that is kept: with --ema_decay of the averaged one.
        """


def joint_loss(final: torch.Tensor, intermediate: torch.Tensor | None) -> torch.Tensor:
    """L_t, the loss of a task that is balanced."""
    return final if intermediate is None else final + INTERMEDIATE_SHARE * intermediate


class WeightedLosses(Balancing):
    """A weighted sum or a weighted geometric mean of the L_t, with weights that are constants of the gradient.

    The geometric mean, L = prod_t L_t^{w_t} with exponents that sum to one, has the gradient
    L sum_t (w_t / L_t) dL_t. It is that of the sum of c_t L_t with constant c_t = w_t L / L_t, whose value is L too,
    and so it is computed: over processes and pieces of a batch sums can be split, products cannot. Multiplying one L_t
    by a constant multiplies L, and leaves the direction of its gradient as it was.

    A task without labels in the batch is left out of the mean, the others' exponents growing to a sum of one. (In the
    released program of Yun & Cho, ICCV 2023, its loss of 0 makes the product 0 and its gradient NaN.)

    Args:
        tasks: in the order of `tasks.TASKS`.
        geometric: which of the two.
    """

    def __init__(self, tasks: tuple[str, ...], geometric: bool):
        super().__init__(tasks)
        self.geometric = geometric
        self.reads_values = geometric
        self._values = self._present = None  # of the last batch: loss of each task, and whether it had labels

    @abstractmethod
    def task_weights(self) -> torch.Tensor:
        """Weights (T,) of the sum, as the method defines them; of the geometric mean they are the exponents' ratios."""

    def forward(
        self, final: dict[str, TaskLoss], intermediate: dict[str, TaskLoss], whole: GlobalBatch = GLOBAL_BATCH
    ) -> torch.Tensor:
        values, counts = [], []
        for task in self.tasks:
            small = intermediate.get(task)
            values.append(joint_loss(final[task].value, small.value if small else None))
            counts.append(final[task].num_pixels + (small.num_pixels if small else 0))
        values, present = torch.stack(values), torch.stack(counts) > 0
        with torch.no_grad():
            of_whole = whole.loss_values(values) if self.reads_values else values
            coefficients = self.coefficients(of_whole, present)
            self._values, self._present = of_whole.detach(), present
        return (coefficients * values).sum()

    def coefficients(self, values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """What the gradient of each L_t counts, (T,), given their values over the whole batch and who has labels."""
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
