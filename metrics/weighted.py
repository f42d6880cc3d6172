"""Weighted statistics of pixels."""

import torch

_NUM_BINS = 1000


def weighted_means(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of weights (n,) times values (m, n) over the sum of weights: (m,)."""
    return values @ weights / weights.sum()


def weighted_median(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The lowest value (n,) at which at least half of the total weight lies at or below it.

    NaN when a value is not finite.
    """
    if not values.isfinite().all():
        return values.new_tensor(torch.nan)
    half = weights.sum() / 2
    # A histogram locates the median, so that only the values of one bin have to be sorted.
    lowest, highest = values.aminmax()
    spread = (highest - lowest).clamp_min(torch.finfo(values.dtype).tiny)
    bins = ((values - lowest) / spread * (_NUM_BINS - 1)).long()
    below = torch.bincount(bins, weights, minlength=_NUM_BINS).cumsum(0)  # weight up to the end of each bin
    bin_of_median = torch.searchsorted(below, half)
    in_bin = bins == bin_of_median
    candidates, order = values[in_bin].sort()
    weight_before = torch.where(bin_of_median > 0, below[bin_of_median - 1], 0)
    reached = weight_before + weights[in_bin][order].cumsum(0)
    return candidates[torch.searchsorted(reached, half).clamp_max(len(candidates) - 1)]
