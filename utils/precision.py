"""Keeping float32 where the rest of a network computes in 16 bits."""

import torch


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """`x` in float32 when it has 16 bits; float32 and float64 stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
