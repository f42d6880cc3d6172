"""Activation checkpointing: recomputes large but cheap intermediate results in the backward pass."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from utils.cpu_kernels import use_cpu_kernels

_everywhere = False


def recompute_everywhere(enabled: bool) -> None:
    """Recompute on GPUs too, where memory is rarely short. Affects the whole process."""
    global _everywhere
    _everywhere = enabled


def checkpointed(
    function: Callable[..., torch.Tensor], *inputs: torch.Tensor, modules: Sequence[nn.Module] = ()
) -> torch.Tensor:
    """`function(*inputs)`, with intermediate results recomputed in the backward pass instead of stored.

    On GPUs they are stored, unless `recompute_everywhere` is set. The last operation of `function` is not repeated, so
    an expensive one may come last.

    Args:
        function: must not use random numbers.
        inputs: tensors that are not modified in place before the backward pass.
        modules: modules that `function` calls and that contain BatchNorms, which then update their running statistics
            only once.
    """
    if not torch.is_grad_enabled() or not (_everywhere or use_cpu_kernels(inputs[0])):
        return function(*inputs)
    if not modules:
        return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    if torch.compiler.is_compiling():  # the compiler decides what to recompute; it cannot trace the contexts
        return function(*inputs)
    contexts = partial(_contexts, modules)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


def _contexts(modules: Sequence[nn.Module]) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Context managers for the forward pass and for the recomputation."""
    return nullcontext(), _CopiedStatistics(modules)


class _CopiedStatistics(AbstractContextManager):
    """Makes BatchNorms update copies of their running statistics. Entered once per backward pass."""

    def __init__(self, modules: Sequence[nn.Module]):
        self._norms = [norm for module in modules for norm in module.modules() if isinstance(norm, _BatchNorm)]

    def __enter__(self) -> None:
        self._buffers = [norm._buffers for norm in self._norms]
        for norm in self._norms:
            norm._buffers = {name: None if x is None else x.clone() for name, x in norm._buffers.items()}

    def __exit__(self, *error: object) -> None:
        for norm, buffers in zip(self._norms, self._buffers, strict=True):
            norm._buffers = buffers
