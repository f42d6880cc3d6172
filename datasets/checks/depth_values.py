"""Range of depth, valid and clipped pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.checks.finding import TOLERATED_OUTLIERS, Finding, outside
from utils.tasks import MAX_DEPTH

# Stitched Matterport3D, empty beyond 66 degrees of latitude, has 0.67; renders and synthetic rooms have 0.9 to 1.
MIN_VALID = 0.3
MIN_VALID_OF_PANORAMA = 0.1  # terraces and atria have little depth of up to 10 m
MEDIAN_RANGE = (0.7, 5.0)  # meters; real and synthetic rooms: 1.4 to 2.3
RANGE_1_99 = (0.1, 60.0)  # meters, 1st and 99th percentile: tripods are closer than 1 m, ends of halls closer than 60 m
# Fraction of the pixels with the largest depth of their panorama. Real and synthetic: below 0.002.
MAX_CLIPPED = 0.02
_LARGEST_CODE = 65535
_MILLIMETERS = 1000  # per meter
_NEAREST, _STEP, _NUM_BINS = 0.01, 1.01, 960  # meters: bins of 1% from 1 cm to 140 m, beyond the 16-bit range


@dataclass(frozen=True)
class DepthValues:
    """Depth of one panorama.

    Attributes:
        pixels: number of pixels.
        histogram: (960,) uint32, number of pixels in bins of 1% of depth.
        valid: fraction of pixels with a depth above 0 and up to 10 m.
        largest: largest stored number; 0 without any depth.
        clipped: fraction of pixels with the largest number.
    """

    pixels: int
    histogram: np.ndarray
    valid: float
    largest: int
    clipped: float


def measure_depth(codes: np.ndarray, scale: float) -> DepthValues:
    """Measure a stored depth map (H, W) uint16, 0 = missing, with `scale` meters per unit."""
    pixels_of_code = np.bincount(codes.ravel(), minlength=2**16)
    pixels_of_code[0] = 0
    largest = int(codes.max())
    meters = np.arange(2**16) * scale
    bins = (np.log(np.maximum(meters, _NEAREST) / _NEAREST) / np.log(_STEP)).astype(int).clip(max=_NUM_BINS - 1)
    histogram = np.bincount(bins, weights=pixels_of_code, minlength=_NUM_BINS).astype(np.uint32)
    valid = float(pixels_of_code[meters <= MAX_DEPTH].sum() / codes.size)
    return DepthValues(codes.size, histogram, valid, largest, float(pixels_of_code[largest] / codes.size))


def measure_meters(depth: np.ndarray) -> DepthValues:
    """As `measure_depth`, for depth (H, W) in meters, 0 = missing, rounded to millimeters."""
    codes = np.rint(depth.astype(np.float64) * _MILLIMETERS).clip(0, _LARGEST_CODE).astype(np.uint16)
    return measure_depth(codes, 1 / _MILLIMETERS)


def evaluate_depth(
    ids: Sequence[str],
    values: Sequence[DepthValues],
    relative_to_largest: bool,
    noun: str = "panoramas",
    in_meters: bool = True,
) -> Finding:
    """Whether the depth of all panoramas is in a plausible range.

    Args:
        ids, values: one per panorama.
        relative_to_largest: whether the dataset can divide depth by the largest one of each panorama, which must
            therefore not mark missing depth.
        noun: see `Finding`.
        in_meters: whether depth is in meters; if not, its range is not checked.
    """
    pixels = np.array([value.pixels for value in values])
    valid = np.array([value.valid for value in values])
    histogram = np.sum([value.histogram for value in values], axis=0, dtype=np.int64)
    median, low, high = (_percentile(histogram, fraction) for fraction in (0.5, 0.01, 0.99))
    pooled_valid = float(np.average(valid, weights=pixels))
    m = " m" if in_meters else ""
    finding = Finding(
        "depth",
        [
            f"median {median:.2f}{m}, 98% within {low:.2f} to {high:.2f}{m}; {pooled_valid:.1%} of the pixels are "
            f"valid (up to {MAX_DEPTH:g}{m})"
        ],
        noun=noun,
    )
    if pooled_valid < MIN_VALID:
        finding.problems.append(f"only {pooled_valid:.1%} of the depth is valid")
    if not histogram.any():
        finding.rows = ["no pixel has depth"]
        return finding
    if in_meters and outside(median, MEDIAN_RANGE):
        finding.problems.append(f"a median depth of {median:.2f} m is implausible")
    if in_meters and (low < RANGE_1_99[0] or high > RANGE_1_99[1]):
        finding.problems.append(f"depths from {low:.2f} to {high:.2f} m are implausible")
    _add_outliers(finding, ids, values, relative_to_largest)
    return finding


def _add_outliers(
    finding: Finding, ids: Sequence[str], values: Sequence[DepthValues], relative_to_largest: bool
) -> None:
    """Add the panoramas with hardly any valid depth, clipped depth, or the largest code."""
    num = len(values)
    finding.add_outliers(
        [
            f"{name}: {value.valid:.1%} of its depth is valid"
            for name, value in zip(ids, values, strict=True)
            if value.valid < MIN_VALID_OF_PANORAMA
        ],
        num,
        "hardly any valid depth",
        TOLERATED_OUTLIERS,
    )
    finding.add_outliers(
        [
            f"{name}: {value.clipped:.1%} of its depth is the largest number, {value.largest}"
            for name, value in zip(ids, values, strict=True)
            if value.clipped > MAX_CLIPPED
        ],
        num,
        "clipped depth",
        TOLERATED_OUTLIERS,
    )
    if relative_to_largest:
        finding.add_outliers(
            [f"{name}: depth 65535" for name, value in zip(ids, values, strict=True) if value.largest == _LARGEST_CODE],
            num,
            "depth 65535, which would be the largest depth: store missing depth as 0",
        )


def _percentile(histogram: np.ndarray, fraction: float) -> float:
    """Depth in meters below which this fraction of the pixels lies, to half a percent; NaN without any depth."""
    cumulative = np.cumsum(histogram)
    if not cumulative[-1]:
        return float("nan")
    return _NEAREST * _STEP ** (int(np.searchsorted(cumulative, fraction * cumulative[-1])) + 0.5)
