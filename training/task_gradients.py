"""The gradients of each task's loss, for balancing methods that need them."""

import torch

from training.objective import TrainingObjective, task_losses
from utils.distributed import all_sum, world_size


class TaskGradients:
    """Gradients of the losses L_t of one step, added up over its batches and all processes.

    Args:
        objective: with a balancing method whose `gradient_scope` is not ``"none"``.
    """

    def __init__(self, objective: TrainingObjective):
        self._network, self._balancing = objective.network, objective.balancing
        tasks = self._balancing.tasks
        if self.replaces_backward:
            self._seen = self._network.shared_parameters()
            self._own = [self._network.own_parameters(task) for task in tasks]
        else:
            self._seen = [self._network.last_shared_weight]
            self._own = [[] for _ in tasks]
        self._gradients: list[list[torch.Tensor]] = []  # per task, of the seen parameters and its own

    @property
    def replaces_backward(self) -> bool:
        """Whether the gradients of all parameters are made here, so that there is no backward pass of the total."""
        return self._balancing.gradient_scope == "shared"

    def add(self, losses: dict[str, torch.Tensor]) -> None:
        """Add the gradients of one batch, given what `TrainingObjective` returned for it."""
        values = task_losses(losses, self._balancing.tasks)
        for number, (value, own) in enumerate(zip(values, self._own, strict=True)):
            is_last = self.replaces_backward and number == len(values) - 1
            parameters = [*self._seen, *own]
            found = torch.autograd.grad(value, parameters, retain_graph=not is_last, materialize_grads=True)
            if number == len(self._gradients):
                self._gradients.append(list(found))
            else:
                torch._foreach_add_(self._gradients[number], list(found))

    def finish(self) -> torch.Tensor:
        """Hand the gradients to the balancing method; set those of all parameters if they are made here.

        Returns:
            Whether they are finite, bool. If not, no gradient was set.
        """
        num_seen = len(self._seen)
        seen = torch.stack([_flat(some[:num_seen]) for some in self._gradients])  # (T, P)
        seen = all_sum(seen) / world_size()
        gramian = seen @ seen.T
        finite = gramian.isfinite().all()
        if not self.replaces_backward:
            self._balancing.update_from_gramian(gramian)
        elif finite:  # a GPU is waited for here, as it is by the solvers, which run on the CPU
            weights = self._balancing.update_from_gramian(gramian)
            _set_gradients(self._seen, weights @ seen)
            for own, some in zip(self._own, self._gradients, strict=True):
                _set_gradients(own, all_sum(_flat(some[num_seen:])) / world_size())
        self._gradients = []
        return finite


def _flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    """All entries of tensors of any shapes, (P,)."""
    return torch.cat([tensor.flatten() for tensor in tensors])


def _set_gradients(parameters: list[torch.nn.Parameter], flat: torch.Tensor) -> None:
    """Give parameters the gradient whose entries are (P,)."""
    pieces = flat.split([parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(piece.view_as(parameter))  # in the parameter's layout
