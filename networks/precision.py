"""What stays exact when the rest of the network computes in 16 bits."""

import torch


def exact_softmax(logits: torch.Tensor, dim: int) -> torch.Tensor:
    """Softmax in float32 at least, whatever type autocast has chosen for the logits."""
    return logits.softmax(dim, dtype=torch.promote_types(logits.dtype, torch.float32))
