"""Float32 within networks that compute in 16 bits."""

import torch


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """`x` as float32 if it has 16 bits; float32 and float64 are unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
