"""Whether two maps of a panorama show the same view, by the correlation of their edges.

The edges of one map are correlated with those of the other: unchanged, mirrored, upside down, and rotated about the
vertical by any angle. If both maps show the same view, no change increases the correlation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.checks.finding import TOLERATED_OUTLIERS, Finding
from datasets.checks.surfaces import latitudes

FLIPS = ("", "mirrored", "upside down", "rotated by 180 degrees")
# Correlation of another alignment minus that of the correct one: real -0.23 to -0.03 (for a symmetric corridor),
# synthetic -0.50 to -0.14; for mirrored, flipped and rotated images 0.13 to 0.6, but 0.03 for the mirrored corridor.
MAX_EXCESS_OF_PANORAMA = 0.06
MAX_EXCESS = 0.03  # of the mean over all panoramas, which is less noisy
# Correlation of maps of the same view: real 0.22 to 0.54, synthetic 0.26 to 0.76; with the maps of another
# panorama -0.18 to 0.22, on average 0.00 to 0.02.
MIN_CORRELATION_OF_PANORAMA = 0.1
MIN_CORRELATION = 0.15  # of the mean over all panoramas
_MAX_LATITUDE = np.radians(60)  # stitched panoramas have few valid pixels closer to the poles
_BLUR = 0.7  # pixels; tolerates misalignment of about a pixel
_MAX_RGB, _MAX_DEPTH = 0.5, 0.3  # stronger edges are clipped
_MIN_KNOWN = 0.2  # fraction of a map


@dataclass(frozen=True)
class Alignment:
    """Alignment of two maps of one panorama.

    Attributes:
        correlations: (4 flips, 4 quarter turns) correlations of the edges; [0, 0] is that of the unchanged maps.
        best: highest correlation after any other flip and turn.
        flip, turn: this flip (an index into `FLIPS`) and turn (degrees to the right).
    """

    correlations: np.ndarray
    best: float
    flip: int
    turn: float

    @property
    def own(self) -> float:
        """Correlation of the unchanged maps."""
        return float(self.correlations[0, 0])


def rgb_edges(rgb: np.ndarray) -> np.ndarray:
    """Edges (H, W) of an image (H, W, 3) in [0, 1]."""
    return np.minimum(sum(np.abs(after - before).max(axis=-1) for before, after in _neighbors(rgb)), _MAX_RGB)


def depth_edges(depth: np.ndarray) -> np.ndarray:
    """Edges and creases (H, W) of depth (H, W), 0 = missing: second differences of its logarithm; NaN = unknown."""
    log = np.log(np.where(depth > 0, depth, np.nan))
    edges = sum(np.abs(before + after - 2 * log) for before, after in _neighbors(log))
    return np.minimum(edges, _MAX_DEPTH)


def normal_edges(normal: np.ndarray) -> np.ndarray:
    """Creases (H, W) of normals (H, W, 3), (0, 0, 0) = missing; NaN = unknown."""
    known = normal.any(axis=-1)
    cosines = [(before * after).sum(axis=-1) for before, after in _neighbors(normal)]
    known = known & np.logical_and.reduce([b & a for b, a in _neighbors(known)])
    return np.where(known, np.minimum(sum(1 - cosine for cosine in cosines), 1), np.nan)


def label_edges(labels: np.ndarray) -> np.ndarray:
    """Borders (H, W) of labels (H, W), -1 = ignore; NaN = unknown."""
    borders = np.logical_or.reduce([(labels != b) | (labels != a) for b, a in _neighbors(labels)])
    return np.where(labels >= 0, borders, np.nan)


def measure_alignment(edges: np.ndarray, reference: np.ndarray) -> Alignment | None:
    """Correlate edges (H, W) with `reference` (H, W) after all flips and turns.

    None with too few known pixels or without edges.
    """
    edges, reference = _normalized(edges), _normalized(reference)
    if edges is None or reference is None:
        return None
    width = edges.shape[1]
    spectrum = np.fft.rfft(reference, axis=1)
    flipped = np.stack([edges, edges[:, ::-1], edges[::-1], edges[::-1, ::-1]])
    products = (np.conj(np.fft.rfft(flipped, axis=2)) * spectrum).sum(axis=1)
    correlations = np.fft.irfft(products, n=width, axis=1)  # (4, W): by shift to the right
    window = max(1, width // 128)  # 3 degrees: smaller shifts count as misalignment, not as a rotation
    near = np.max([np.roll(correlations, shift, axis=1) for shift in range(-window, window + 1)], axis=0)
    others = correlations.copy()
    others[0, np.arange(-2 * window, 2 * window + 1)] = -1
    flip, shift = np.unravel_index(others.argmax(), others.shape)
    return Alignment(
        correlations=near[:, [0, width // 4, width // 2, 3 * width // 4]].astype(np.float32),
        best=float(others[flip, shift]),
        flip=int(flip),
        turn=float(shift * 360 / width),
    )


def correlate_turns(edges: np.ndarray, reference: np.ndarray) -> np.ndarray | None:
    """Correlation (W,) of edges (H, W) with `reference` (H, W) after a turn to the right by 0 to W - 1 columns.

    None with too few known pixels or without edges.
    """
    edges, reference = _normalized(edges), _normalized(reference)
    if edges is None or reference is None:
        return None
    products = np.conj(np.fft.rfft(edges, axis=1)) * np.fft.rfft(reference, axis=1)
    return np.fft.irfft(products.sum(axis=0), n=edges.shape[1])


def evaluate_alignments(
    what: str, reference: str, ids: Sequence[str], alignments: Sequence[Alignment | None]
) -> Finding:
    """Whether two kinds of maps show the same view.

    Args:
        what, reference: names of the maps in messages.
        ids, alignments: one per panorama; None: see `measure_alignment`.
    """
    known = [one for one in alignments if one]
    if len(known) < len(alignments) / 2:
        text = f"{what} and {reference} can be compared in {len(known)} of {len(alignments)} panoramas"
        return Finding("edges", [text], [f"no edges of {what}, or of {reference}"])
    mean = np.mean([one.correlations for one in known], axis=0)
    own, others = float(mean[0, 0]), mean.ravel()[1:]
    finding = Finding("edges", [f"correlation of {what} and {reference}: {own:.2f}"])
    flip, quarter = divmod(int(others.argmax()) + 1, 4)
    if others.max() > own + MAX_EXCESS:
        finding.rows.append(f"they would agree better ({others.max():.2f}) {_in_words(flip, 90 * quarter)}")
        finding.problems.append(f"{what} and {reference} do not match")
    elif own < MIN_CORRELATION:
        finding.problems.append(f"{what} and {reference} do not show the same view")
    outliers = [
        f"{name}: {words}"
        for name, one in zip(ids, alignments, strict=True)
        if (words := _mismatch(one, what, reference))
    ]
    finding.add_outliers(outliers, len(alignments), f"{what} and {reference} do not match", TOLERATED_OUTLIERS)
    return finding


def _mismatch(one: Alignment | None, what: str, reference: str) -> str:
    """The mismatch of a panorama's maps, in words; empty if they match."""
    if one is None:
        return f"no edges of {what}, or of {reference}"
    if one.best > max(one.own + MAX_EXCESS_OF_PANORAMA, MIN_CORRELATION):
        return f"{what} would match {reference} better {_in_words(one.flip, one.turn)}"
    if one.own < MIN_CORRELATION_OF_PANORAMA:
        return f"{what} and {reference} do not show the same view"
    return ""


def _in_words(flip: int, turn: float) -> str:
    turned = f"turned by {turn:.0f} degrees" if turn else ""
    return " and ".join(words for words in (FLIPS[flip], turned) if words)


def _neighbors(array: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The array shifted by a pixel in both directions along rows, then along columns (with wraparound)."""
    return [(np.roll(array, 1, axis), np.roll(array, -1, axis)) for axis in (1, 0)]


def _normalized(edges: np.ndarray) -> np.ndarray | None:
    """Edges up to `_MAX_LATITUDE`, with zero mean and similar power in all rows and a sum of squares of 1.

    None with too few known pixels or without edges.
    """
    latitude = latitudes(len(edges))
    inner = np.abs(latitude[:, 0]) < _MAX_LATITUDE
    edges, latitude = edges[inner], latitude[inner]
    known = np.isfinite(edges)
    if known.mean() < _MIN_KNOWN:
        return None
    edges = np.where(known, edges, 0).astype(np.float32)
    # All rooms have more edges at some latitudes, such as the horizon: subtract the mean of each row.
    mean = edges.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    edges = cv2.GaussianBlur(np.where(known, edges - mean, 0), (0, 0), _BLUR, borderType=cv2.BORDER_REPLICATE)
    power = (edges**2).mean(axis=1, keepdims=True)
    if not power.any():
        return None
    edges /= np.sqrt(power) + 0.5 * np.sqrt(power.mean())
    edges *= np.sqrt(np.cos(latitude)).astype(np.float32)
    return edges / np.sqrt((edges**2).sum())
