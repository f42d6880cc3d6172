"""Activation checkpointing: large but cheap intermediate results are recomputed in the backward pass."""

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint


def checkpointed(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
    """`function(*inputs)`, whose intermediate results are recomputed in the backward pass instead of stored.

    The last operation is not repeated, so an expensive one may come last.

    Args:
        function: without random numbers.
        inputs: tensors that are not modified in place before the backward pass.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
