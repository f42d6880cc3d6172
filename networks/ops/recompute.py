"""Activation checkpointing: large but cheap intermediate results are recomputed in the backward pass."""

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

from utils.cpu_kernels import use_cpu_kernels

_everywhere = False


def recompute_everywhere(enabled: bool) -> None:
    """Recompute on GPUs, too, where memory is rarely short. Affects the whole process."""
    global _everywhere
    _everywhere = enabled


def checkpointed(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
    """`function(*inputs)`, whose intermediate results are recomputed in the backward pass instead of stored.

    They are stored on GPUs, unless `recompute_everywhere` is set. The last operation is not repeated, so an expensive
    one may come last.

    Args:
        function: without random numbers.
        inputs: tensors that are not modified in place before the backward pass.
    """
    if not torch.is_grad_enabled() or not (_everywhere or use_cpu_kernels(inputs[0])):
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
