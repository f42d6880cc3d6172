"""Skipping updates on the device, by flags that the host has not read yet."""

import torch
from torch import nn

from training.task_gradients import flat


class HostCopy:
    """An asynchronous copy of a tensor to the host, which waits only when it reads the copy."""

    def __init__(self, tensor: torch.Tensor):
        self._copy = tensor.to("cpu", non_blocking=True)  # from a GPU into pinned memory
        self._arrived = torch.cuda.current_stream(tensor.device).record_event() if tensor.is_cuda else None

    def read(self) -> list:
        """The values; waits for GPU work that was launched before the copy, not for later work."""
        if self._arrived:
            self._arrived.synchronize()
        return self._copy.tolist()


class BufferSnapshot:
    """Copies of the buffers of a module that a step may change, to undo the step.

    These are floating-point buffers, such as running statistics, and counters, which are single integers.
    """

    def __init__(self, module: nn.Module):
        by_type: dict[torch.dtype, list[torch.Tensor]] = {}
        for buffer in module.buffers():
            if buffer.is_floating_point() or buffer.ndim == 0:
                by_type.setdefault(buffer.dtype, []).append(buffer)
        self._buffers = [*by_type.values()]
        self._before = [[torch.empty_like(buffer) for buffer in some] for some in self._buffers]

    def take(self) -> None:
        """Copy the buffers."""
        for before, now in zip(self._before, self._buffers, strict=True):
            torch._foreach_copy_(before, now)

    def restore(self) -> None:
        """Set the buffers to the copies."""
        for before, now in zip(self._before, self._buffers, strict=True):
            torch._foreach_copy_(now, before)

    def restore_if(self, condition: torch.Tensor) -> None:
        """As `restore` if a boolean scalar on the device is true, in few operations, as there are many buffers."""
        for before, now in zip(self._before, self._buffers, strict=True):
            chosen = torch.where(condition, flat(before), flat(now)).split([buffer.numel() for buffer in now])
            torch._foreach_copy_(now, [values.view_as(buffer) for values, buffer in zip(chosen, now, strict=True)])


def step_unless(optimizer: torch.optim.Optimizer, parts: list[tuple[list[nn.Parameter], torch.Tensor]]) -> None:
    """Take a step of a fused optimizer, but skip some parameters with their moments and step counters.

    Args:
        optimizer: fused, so that it honors ``found_inf``, by which `torch.amp.GradScaler` reports overflows.
        parts: groups of parameters, each with a boolean scalar on the device: true to skip the group.
    """
    gradients = {parameter: parameter.grad for parameters, _ in parts for parameter in parameters}
    optimizer.zero_grad()
    for parameters, is_skipped in parts:
        for parameter in parameters:
            parameter.grad = gradients[parameter]
        optimizer.found_inf = is_skipped.float()
        optimizer.step()
        for parameter in parameters:
            parameter.grad = None
    optimizer.found_inf = None
