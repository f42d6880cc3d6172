"""What is kept from one pass to the next, and what is made again instead."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def remade_in_backward(tensor: torch.Tensor, make: Callable[[], torch.Tensor]) -> Iterator[None]:
    """Operations inside do not keep `tensor` for the backward pass, which calls `make` for an equal one instead.

    For what is large but cheap to make from tensors that are kept anyway.
    """
    address, shape = tensor.data_ptr(), tensor.shape  # the functions below may outlive the tensor, and must not hold it

    def pack(saved: torch.Tensor) -> torch.Tensor | Callable[[], torch.Tensor]:
        return make if (saved.data_ptr(), saved.shape) == (address, shape) else saved

    def unpack(kept: torch.Tensor | Callable[[], torch.Tensor]) -> torch.Tensor:
        return kept if isinstance(kept, torch.Tensor) else kept()

    if torch.compiler.is_compiling():  # the compiler decides itself what to keep
        yield
        return
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


class KeptWhileUnchanged:
    """A value that depends on weights alone, kept on the CPU until one of them changes."""

    def __init__(self):
        self._made_from: list[torch.Tensor] = []
        self._autocast = False
        self._value: Any = None

    def get(self, make: Callable[[], Any], made_from: list[torch.Tensor]) -> Any:
        """What `make` returns, made anew only when a number of `made_from` has changed.

        Not for use where gradients are wanted. Numbers are compared, as torch's version counters miss what fused
        optimisers do. On a GPU it would have to wait for the answer: there, and when compiled, the value is made anew.
        """
        if torch.compiler.is_compiling() or any(tensor.device.type != "cpu" for tensor in made_from):
            return make()
        autocast = torch.is_autocast_enabled("cpu")  # under which values of another type are made
        if autocast != self._autocast or not _all_equal(made_from, self._made_from):
            self._made_from = [tensor.detach().clone() for tensor in made_from]
            self._autocast = autocast
            self._value = make()
        return self._value


def _all_equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(torch.equal(a, b) for a, b in zip(some, others, strict=True))
