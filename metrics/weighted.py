"""Statistics of pixels that count with weights: 1 per pixel, or its solid angle."""

import torch


def weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of weights (n,) times values (n,) over the sum of weights."""
    return (weights * values).sum() / weights.sum()


def weighted_median(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The lowest value (n,) at which at least half of the total weight lies at or below it."""
    values, order = values.sort()
    share = weights[order].cumsum(0) / weights.sum()
    return values[torch.searchsorted(share, torch.tensor(0.5, dtype=share.dtype, device=share.device))]
