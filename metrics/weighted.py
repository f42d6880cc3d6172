"""Medians of pixels that count with weights: 1 per pixel, or its solid angle."""

import torch

from utils.cpu_kernels import use_cpu_kernels

_NUM_BINS = 1000


def weighted_medians(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The lowest value of each row at which at least half of the row's total weight lies at or below it.

        values, order = values.masked_fill(weights == 0, torch.inf).sort(dim=1)
        reached = weights.gather(1, order).cumsum(1)
        return values.gather(1, (reached < weights.sum(1, keepdim=True) / 2).sum(1, keepdim=True))[:, 0]

    On CPUs without sorting all of them.

    Args:
        values: (B, n).
        weights: (B, n), 0 or more; values of weight 0 do not count.

    Returns:
        (B,), NaN where a value that counts is not finite.
    """
    if use_cpu_kernels(values):
        return torch.stack([_median(*of_image) for of_image in zip(values, weights, strict=True)])
    counted = weights > 0
    is_finite = (values.isfinite() | ~counted).all(1)
    values, order = values.masked_fill(~counted, torch.inf).sort(dim=1)
    reached = weights.gather(1, order).cumsum(1)
    place = (reached < weights.sum(1, keepdim=True) / 2).sum(1, keepdim=True).clamp_max(values.shape[1] - 1)
    return torch.where(is_finite, values.gather(1, place)[:, 0], torch.nan)


def _median(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """As `weighted_medians`, of a single row."""
    counted = weights > 0
    values, weights = values[counted], weights[counted]
    if not len(values) or not values.isfinite().all():
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
