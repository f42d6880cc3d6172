"""Weighted medians over pixels."""

import torch

from utils.cpu_kernels import use_cpu_kernels

_NUM_BINS = 1000


def weighted_medians(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The lowest value of each row with at least half of the row's weight at or below it.

        values, order = values.masked_fill(weights == 0, torch.inf).sort(dim=1)
        cumulative = weights.gather(1, order).cumsum(1)
        return values.gather(1, (cumulative < weights.sum(1, keepdim=True) / 2).sum(1, keepdim=True))[:, 0]

    On CPUs, only part of the values are sorted.

    Args:
        values: (B, n).
        weights: (B, n), at least 0; values with weight 0 are ignored.

    Returns:
        (B,), NaN for rows with non-finite values of positive weight.
    """
    if use_cpu_kernels(values):
        return torch.stack([_weighted_median(*row) for row in zip(values, weights, strict=True)])
    valid = weights > 0
    is_finite = (values.isfinite() | ~valid).all(1)
    values, order = values.masked_fill(~valid, torch.inf).sort(dim=1)
    cumulative = weights.gather(1, order).cumsum(1)
    index = (cumulative < weights.sum(1, keepdim=True) / 2).sum(1, keepdim=True).clamp_max(values.shape[1] - 1)
    return torch.where(is_finite, values.gather(1, index)[:, 0], torch.nan)


def _weighted_median(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The weighted median of a single row (n,)."""
    valid = weights > 0
    values, weights = values[valid], weights[valid]
    if not len(values) or not values.isfinite().all():
        return values.new_tensor(torch.nan)
    half = weights.sum() / 2
    # A histogram locates the median, so that only the values in one bin have to be sorted.
    lowest, highest = values.aminmax()
    spread = (highest - lowest).clamp_min(torch.finfo(values.dtype).tiny)
    bins = ((values - lowest) / spread * (_NUM_BINS - 1)).long()
    cumulative = torch.bincount(bins, weights, minlength=_NUM_BINS).cumsum(0)  # weight up to the end of each bin
    median_bin = torch.searchsorted(cumulative, half)
    in_bin = bins == median_bin
    candidates, order = values[in_bin].sort()
    weight_before = torch.where(median_bin > 0, cumulative[median_bin - 1], 0)
    cumulative = weight_before + weights[in_bin][order].cumsum(0)
    return candidates[torch.searchsorted(cumulative, half).clamp_max(len(candidates) - 1)]
