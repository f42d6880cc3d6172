"""Memory for time: what is large but cheap is recomputed in the backward pass instead of kept."""

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint


def checkpointed(function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
    """`function(*inputs)`; what lies between is recomputed in the backward pass, if there is one.

    Recomputing stops at the input of the last operation, which itself is not repeated: an expensive one may come last.

    Args:
        function: without random numbers.
        inputs: tensors that nothing changes in place before the backward pass.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
