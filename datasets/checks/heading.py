"""Whether RGB and depth have the same heading, by the correlation of their edges at up to 512 rows.

`datasets.checks.alignment` detects rotations of three degrees or more; this check detects fractions of a degree, which
occur if RGB and depth come from different sources.
"""

from collections.abc import Sequence

import numpy as np

from datasets.checks.alignment import (
    MIN_CORRELATION_OF_PANORAMA,
    correlate_turns,
    depth_edges,
    rgb_edges,
)
from datasets.checks.finding import Finding
from datasets.panorama import Panorama

COMPARED_HEIGHT = 512  # rows: more take time and add nothing
_REACH = 3.0  # degrees to either side
_MIN_HEIGHT = 64  # rows: fewer are too coarse
# Degrees, median of the magnitudes over all panoramas. Real: 0.03 (512 rows); synthetic: 0.01 (512 rows), 0.02 (256),
# 0.06 (128), 0.15 (64).
MAX_OFFSET = 0.25
_MAX_PIXELS = 0.3  # the same in pixels, for small panoramas


def measure_heading_offset(panorama: Panorama) -> float:
    """Degrees by which RGB lies to the right of depth; NaN if their edges do not match or the panorama is too small."""
    if len(panorama.rgb) < _MIN_HEIGHT:
        return float("nan")
    height = min(len(panorama.rgb), COMPARED_HEIGHT)
    small = panorama.resized(height, 2 * height)
    depth = small.depth.astype(np.float32) * small.depth_scale
    correlation = correlate_turns(rgb_edges(small.rgb.astype(np.float32) / 255), depth_edges(depth))
    if correlation is None:
        return float("nan")
    per_degree = 2 * height / 360
    reach = int(np.ceil(_REACH * per_degree))
    near = np.roll(correlation, reach)[: 2 * reach + 1]
    best = int(near.argmax())
    if best in (0, 2 * reach) or near[best] < MIN_CORRELATION_OF_PANORAMA:
        return float("nan")
    before, peak, after = near[best - 1 : best + 2]
    fraction = (before - after) / (2 * (before - 2 * peak + after))  # vertex of the parabola through the three
    return float((reach - best - fraction) / per_degree)


def evaluate_heading(offsets: Sequence[float], sizes: Sequence[str]) -> Finding | None:
    """Whether RGB and depth have the same heading; None if the offset is known for less than half of the panoramas.

    Args:
        offsets: see `measure_heading_offset`.
        sizes: sizes of the panoramas, such as "1024x512".
    """
    known = np.array(offsets)[np.isfinite(offsets)]
    if len(known) < max(1, len(offsets) / 2):
        return None
    width = min(int(size.partition("x")[0]) for size in sizes)
    typical = float(np.median(np.abs(known)))
    finding = Finding("edges", [f"RGB lies {np.median(known):+.2f} degrees to the right of depth (median)"])
    if typical > max(MAX_OFFSET, _MAX_PIXELS * 360 / width):
        finding.problems.append(f"RGB and depth differ in heading by {typical:.2f} degrees")
    return finding
