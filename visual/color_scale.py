"""Ranges of color maps."""

import math
from typing import NamedTuple

import numpy as np

from utils.tasks import MAX_DEPTH

_PERCENTILES = (2, 98)


class ColorScale(NamedTuple):
    """Values from `low` (first color) to `high` (last color), in `unit`; values outside are clamped."""

    low: float
    high: float
    unit: str


def depth_scale(maps: tuple[np.ndarray, ...], unit: str) -> ColorScale:
    """A common scale for depth maps (H, W): percentiles 2 and 98 of all their values, rounded outward.

    Values that are not finite or not positive are ignored. Without other values, the scale is 0 to MAX_DEPTH.
    """
    values = np.concatenate([depth[np.isfinite(depth) & (depth > 0)] for depth in maps] or [np.empty(0)])
    if not values.size:
        return ColorScale(0.0, MAX_DEPTH, unit)
    low, high = np.percentile(values.astype(np.float64), _PERCENTILES)
    span = max(high - low, 0.1 * high)  # not 0 for constant maps
    decimals = 1 - math.floor(math.log10(span))  # round to two digits of the span
    step = 10.0**-decimals
    low = round(math.floor(low / step) * step, decimals)
    return ColorScale(low, round(max(math.ceil(high / step), math.floor(low / step + 1)) * step, decimals), unit)
