"""Exponential moving average (EMA) of the weights."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """Exponential moving average of weights and statistics; integer buffers are copied.

    Unlike in torch's class, the number of steps stays on the CPU: copying it to a GPU would make the host wait.

    Attributes:
        n_averaged: number of steps so far.
    """

    def __init__(self, network: nn.Module, decay: float):
        super().__init__(network, use_buffers=True)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module, unless: torch.Tensor | None = None) -> None:
        """Average in the weights and buffers of `model`; in the first step, copy them. Does not count the step.

        Args:
            model: the trained network.
            unless: boolean scalar on the device, true to leave the average unchanged.
        """
        averaged, copied = ([], []), ([], [])
        is_first = int(self.n_averaged) == 0
        own, new = ([*module.parameters(), *module.buffers()] for module in (self.module, model))
        for pair in zip(own, new, strict=True):
            lists = averaged if pair[0].is_floating_point() and not is_first else copied
            for tensors, tensor in zip(lists, pair, strict=True):
                tensors.append(tensor)
        if averaged[0] and unless is None:
            torch._foreach_lerp_(*averaged, 1 - self._decay)
        elif averaged[0]:  # a product with 1 plus a product with 0: exact, up to signs of zeros
            updated, keep = torch._foreach_lerp(*averaged, 1 - self._decay), unless.float()
            torch._foreach_mul_(updated, 1 - keep)
            torch._foreach_mul_(averaged[0], keep)
            torch._foreach_add_(averaged[0], updated)
        if copied[0]:
            torch._foreach_copy_(*copied)
