"""What is kept from one pass to the next, and what is made again instead."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


@contextmanager
def not_kept(tensor: torch.Tensor, make: Callable[..., torch.Tensor], *sources: torch.Tensor) -> Iterator[None]:
    """Operations inside do not keep `tensor` for the backward pass, which calls `make(*sources)` for an equal one.

    For what is large but cheap to make from tensors that are kept anyway.

    Raises:
        RuntimeError: in the backward pass, when a source was changed in place since.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():  # the compiler decides itself what to keep
        yield
        return
    address, shape = tensor.data_ptr(), tensor.shape  # the functions below outlive the tensor, and must not hold it
    sources = tuple(source.detach() for source in sources)
    versions = [source._version for source in sources]

    def pack(saved: torch.Tensor) -> torch.Tensor | None:
        return None if (saved.data_ptr(), saved.shape) == (address, shape) else saved

    def unpack(kept: torch.Tensor | None) -> torch.Tensor:
        if kept is not None:
            return kept
        if [source._version for source in sources] != versions:
            raise RuntimeError("a tensor that the backward pass needs was changed in place")
        return make(*sources)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def recomputed(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
    """`function` of `inputs`; the backward pass, if there is one, calls it again for what lies between.

    For what is large but cheap to make, without random numbers, from inputs that nobody changes in place.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


class KeptWhileUnchanged:
    """A value that depends on some tensors alone, kept on the CPU until one of them changes."""

    def __init__(self):
        self._made_from: list[torch.Tensor] = []
        self._autocast_type: torch.dtype | None = None
        self._value: Any = None

    def get(self, make: Callable[[], Any], made_from: list[torch.Tensor]) -> Any:
        """What `make` returns, made anew only when a number of `made_from` or its type has changed.

        Not for use where gradients are wanted. Numbers are compared, as torch's version counters miss what fused
        optimisers do. On a GPU it would have to wait for the answer: there, and when compiled, the value is made anew.
        """
        if torch.compiler.is_compiling() or any(tensor.device.type != "cpu" for tensor in made_from):
            return make()
        autocast_type = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        if autocast_type != self._autocast_type or not _all_equal(made_from, self._made_from):
            self.forget()  # before the new one takes its memory
            self._value = make()
            self._autocast_type = autocast_type
            self._made_from = [tensor.detach().clone() for tensor in made_from]
        return self._value

    def forget(self) -> None:
        """Free the memory."""
        self._made_from, self._value = [], None


def _all_equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    pairs = zip(some, others, strict=False)
    return len(some) == len(others) and all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
