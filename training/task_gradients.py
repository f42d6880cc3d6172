"""Gradients of the loss of each task, for balancing methods that need them."""

import torch

from training.objective import TrainingObjective, task_losses
from utils.distributed import all_sum, world_size


class TaskGradients:
    """Gradients of the losses L_t of one step, summed over its batches and all processes.

    Args:
        objective: an objective whose balancing method has a `gradient_scope` other than ``"none"``.
    """

    def __init__(self, objective: TrainingObjective):
        self._network, self._balancing = objective.network, objective.balancing
        tasks = self._balancing.tasks
        if self.replaces_backward:
            self._shared = self._network.shared_parameters()
            self._own = [self._network.own_parameters(task) for task in tasks]
        else:
            self._shared = [self._network.last_shared_weight]
            self._own = [[] for _ in tasks]
        self._gradients: list[list[torch.Tensor]] = []  # per task: of the shared parameters, then of its own

    @property
    def replaces_backward(self) -> bool:
        """Whether all gradients are computed here instead of by a backward pass of the total loss."""
        return self._balancing.gradient_scope == "shared"

    def add(self, losses: dict[str, torch.Tensor]) -> None:
        """Add the gradients of one batch, given the losses that `TrainingObjective` returned for it."""
        values = task_losses(losses, self._balancing.tasks)
        for number, (value, own) in enumerate(zip(values, self._own, strict=True)):
            is_last = self.replaces_backward and number == len(values) - 1
            parameters = [*self._shared, *own]
            found = torch.autograd.grad(value, parameters, retain_graph=not is_last, materialize_grads=True)
            if number == len(self._gradients):
                self._gradients.append(list(found))
            else:
                torch._foreach_add_(self._gradients[number], list(found))

    def finish(self) -> torch.Tensor:
        """Pass the gradients to the balancing method; set those of all parameters if they are computed here.

        Returns:
            Whether they are finite, bool. If not, no gradient was set.
        """
        num_shared = len(self._shared)
        shared = torch.stack([flat(some[:num_shared]) for some in self._gradients])  # (T, P)
        shared = all_sum(shared) / world_size()
        gramian = shared @ shared.T
        finite = gramian.isfinite().all()
        if not self.replaces_backward:
            self._balancing.update_from_gramian(gramian)
        elif finite:  # makes the host wait, as do the solvers, which run on the CPU
            weights = self._balancing.update_from_gramian(gramian)
            _set_gradients(self._shared, weights @ shared)
            for own, some in zip(self._own, self._gradients, strict=True):
                _set_gradients(own, all_sum(flat(some[num_shared:])) / world_size())
        self._gradients = []
        return finite


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Flatten and concatenate tensors: (P,)."""
    return torch.cat([tensor.flatten() for tensor in tensors])


def _set_gradients(parameters: list[torch.nn.Parameter], flat: torch.Tensor) -> None:
    """Set the gradients of parameters from their flat concatenation (P,)."""
    chunks = flat.split([parameter.numel() for parameter in parameters])
    for parameter, chunk in zip(parameters, chunks, strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(chunk.view_as(parameter))  # in its layout
