"""Base classes of the balancing methods, and the two forms of a weighted loss."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from losses.reduction import MeanLoss
from utils.distributed import all_sum, world_size

INTERMEDIATE_WEIGHT = 0.1  # of I_t in L_t; in the released code's total loss F_t has a factor of 10, and I_t none
_EPS = 1e-12  # lower bound of losses in logarithms and of divisors


class Balancing(nn.Module, ABC):
    """Combines the task losses into the total loss.

    With the final loss F_t and the intermediate loss I_t of task t, all methods except `uncertainty` balance

        L_t = F_t + 0.1 I_t.

    The training calls

    1. in every optimizer step: `begin_step`; `forward` for each batch; `update_from_gramian`, if the method has a
       `gradient_scope`; after the update, `end_step`;
    2. after every epoch: `end_epoch`, then `validated` if there was a validation.

    A step with non-finite losses or gradients makes no update, and buffers are reset to their values before it. All
    state is in buffers and parameters, and so in the `state_dict`; a copy outside them needs `undo_step`.

    Args:
        tasks: task names in the order of the network.

    Attributes:
        needs_loss_values: whether the method needs the values of the global losses, not only their gradients.
        gradient_scope: the parameters for which the method needs the gradient of each L_t in every step: ``"none"``,
            ``"last shared layer"`` or ``"shared"`` (all shared parameters).
    """

    needs_loss_values = False
    gradient_scope = "none"

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks = tasks

    def register_buffer(self, name: str, tensor: torch.Tensor, persistent: bool = True) -> None:
        """Register a buffer, see `nn.Module`.

        Raises:
            TypeError: when bad steps would not reset the buffer (see `training.skipping`): it must be floating-point,
                or a single number.
        """
        if not tensor.is_floating_point() and tensor.ndim:
            raise TypeError(f"{name} must be floating-point or a single number to be reset after bad steps")
        super().register_buffer(name, tensor, persistent)

    def begin_step(self) -> None:
        """Called before the forward passes of each optimizer step."""

    @abstractmethod
    def forward(
        self, final: dict[str, MeanLoss], intermediate: dict[str, MeanLoss], fractions: torch.Tensor
    ) -> torch.Tensor:
        """Total loss of one batch. A task without valid pixels contributes nothing.

        Args:
            final, intermediate: F_t and I_t of each task; `intermediate` may be empty.
            fractions: (T,), the fraction of each task's labeled pixels in the step that are in this batch. The totals
                of a step's batches are summed, so fractions scale the losses: a weighted sum returns
                ``(fractions * weights * losses).sum()``.
        """

    @abstractmethod
    def weights(self) -> dict[str, float]:
        """The weight of each task for the log: of L_t or of its gradient, or the exponent of L_t."""

    def update_from_gramian(self, gramian: torch.Tensor) -> torch.Tensor | None:
        """Called in every step with the inner products (T, T) of the gradients dL_t over `gradient_scope`.

        With ``"last shared layer"``, they may be non-finite.

        Returns:
            For ``"shared"``: weights (T,) of the dL_t in the gradient of the shared parameters.
        """

    def end_step(self) -> None:
        """Called after each optimizer step.

        On a GPU, also after a step whose losses turn out to be non-finite: buffers are then reset, and `undo_step` is
        called before the next `end_step`.
        """

    def undo_step(self) -> None:
        """Undo what the last `end_step` changed besides buffers."""

    def end_epoch(self) -> None:
        """Called after each epoch."""

    def validated(self, accuracies: dict[str, float | None]) -> None:
        """Called after each validation with the accuracy of each task, in [0, 1], None if unavailable.

        With `--ema_decay`, these are accuracies of the averaged network.
        """


def task_loss(final: torch.Tensor, intermediate: torch.Tensor | None) -> torch.Tensor:
    """L_t = F_t + 0.1 I_t, see `Balancing`."""
    return final if intermediate is None else final + INTERMEDIATE_WEIGHT * intermediate


class WeightedLosses(Balancing):
    """A weighted sum or a weighted geometric mean of the L_t; the weights w_t are constant in the gradient.

    The geometric mean, L = prod_t L_t^{w_t} with exponents that sum to one, has the gradient
    L sum_t (w_t / L_t) dL_t. It is computed as sum_t c_t L_t with constants c_t = w_t L / L_t, which has the same
    value and gradient, because sums can be split over processes and products cannot. Scaling one L_t scales L, but
    does not change the direction of its gradient. With several batches per step, each batch has its own c_t.

    A task without labels in the batch is excluded from the mean. The exponents of the other tasks are rescaled to sum
    to one, or kept: then batches with fewer labels have smaller gradients if losses are below 1. (In the released code
    of Yun & Cho, ICCV 2023, the missing loss counts as 0, so that the product is 0 and its gradient NaN.)

    Args:
        tasks: task names in the order of the network.
        geometric: a geometric mean instead of a sum.
        keep_exponents: do not rescale the exponents when a task has no labels in the batch.
    """

    def __init__(self, tasks: tuple[str, ...], geometric: bool, keep_exponents: bool = False):
        super().__init__(tasks)
        self.geometric = geometric
        self.keep_exponents = keep_exponents
        self.needs_loss_values = geometric
        self._values = self._present = None  # in this step: the loss of each task, and whether it has labels

    def begin_step(self) -> None:
        self._values = self._present = None

    @abstractmethod
    def task_weights(self) -> torch.Tensor:
        """Weights (T,) of the sum, or exponents of the geometric mean up to a common factor."""

    def forward(
        self, final: dict[str, MeanLoss], intermediate: dict[str, MeanLoss], fractions: torch.Tensor
    ) -> torch.Tensor:
        values, counts = [], []
        for task in self.tasks:
            extra = intermediate.get(task)
            values.append(task_loss(final[task].value, extra.value if extra else None))
            counts.append(final[task].num_pixels + (extra.num_pixels if extra else 0))
        values, present = torch.stack(values), torch.stack(counts) > 0
        with torch.no_grad():
            global_values = all_sum(values) / world_size() if self.needs_loss_values else values.detach()
            coefficients = fractions * self._coefficients(global_values, present)
            self._accumulate(fractions * global_values, present)
        total = (coefficients * values).sum()
        if self.keep_exponents:  # sum_t c_t L_t = L sum_t w_t: the gradient is that of L, the value has to be scaled
            total = total + total.detach() * (1 / self._exponents(present).sum().clamp_min(_EPS) - 1)
        return total

    def _accumulate(self, values: torch.Tensor, present: torch.Tensor) -> None:
        """Add the losses (T,) of a batch to those of the step."""
        if self._values is None:
            self._values, self._present = values, present
        else:
            self._values, self._present = self._values + values, self._present | present

    def _coefficients(self, values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Weights (T,) of the dL_t, from the losses (T,) of the batch and whether each task has labels in it (T,)."""
        if not self.geometric:
            return self.task_weights().to(values)
        exponents = self._exponents(present).to(values)
        values = values.clamp_min(_EPS)
        mean = (exponents * values.log()).sum().exp()
        return exponents * mean / values

    def _exponents(self, present: torch.Tensor) -> torch.Tensor:
        """Exponents (T,) of the mean, 0 for tasks without labels, from whether each task has labels (T,)."""
        weights = self.task_weights()
        return _sum_to_one(weights) * present if self.keep_exponents else _sum_to_one(weights * present)

    def weights(self) -> dict[str, float]:
        """The weights of the sum, or the exponents of the geometric mean."""
        weights = self.task_weights()
        if self.geometric:
            weights = _sum_to_one(weights)
        return dict(zip(self.tasks, weights.tolist(), strict=True))


def _sum_to_one(weights: torch.Tensor) -> torch.Tensor:
    """Non-negative weights (T,) divided by their sum; zeros if all are 0."""
    return weights / weights.sum().clamp_min(_EPS)
