"""Normals computed from the depth of a perspective image, and the axes along which stored normals agree with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from datasets.preparation.axes import ALL_AXES, axes_in_words, cosines_along_axes
from datasets.preparation.normals_from_depth import normals_of_points
from utils.errors import UserError
from utils.pinhole import Pinhole

# Axes of the three components of a stored vector, under which it points toward the camera; the first ones are ours.
# (A vector that points away from the camera along right, down, forward points toward it along left, up, back.)
NORMAL_AXES = {
    "-".join(names): np.array([1 if name in ("right", "down", "forward") else -1 for name in names], np.float32)
    for names in product(("right", "left"), ("down", "up"), ("forward", "back"))
}
NEAR_ANGLE = 22.5  # degrees: depth cameras are noisy, and wrong axes cause much larger angles
_ROWS = 96  # of the compared maps, to which depth is averaged against noise
_REACH = 2  # pixels of these maps to either side, for the differences
_MIN_PIXELS = 100
# Fraction of near normals, and magnitude of the votes, under the right signs. Synthetic: 0.8 to 0.95, and 0.8 to 1.
MIN_NEAR = 0.5
MIN_VOTE = 0.3


@dataclass(frozen=True)
class AxesMeasurement:
    """Comparison of stored normals with those computed from depth.

    Attributes:
        pixels: number of compared pixels.
        same: (3,) sums over the pixels of the products of both, by component.
        strength: (3,) sums of the magnitudes of these products: `same / strength` is 1 if all signs agree, -1 if none.
        near: (48,) number of pixels that differ by less than `NEAR_ANGLE` under each of `ALL_AXES`.
    """

    pixels: int
    same: np.ndarray
    strength: np.ndarray
    near: np.ndarray


def normals_from_z_depth(depth: np.ndarray, camera: Pinhole, reach: int = 1) -> np.ndarray:
    """Unit normals (H, W, 3) toward the camera of depth (H, W) in meters along the optical axis.

    Each is the cross product of two differences: between the points `reach` pixels above and below, and left and right.
    Zero where one of these points is missing (depth not above 0 or not finite), in the `reach` outermost rows and
    columns, and at edges, where the four depths differ too much.
    """
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float64)
    normal = normals_of_points(camera.points(depth), depth, reach)
    normal[:, :reach] = normal[:, -reach:] = 0
    return normal


def implied_normals(depth: np.ndarray, camera: Pinhole) -> np.ndarray:
    """Normals (h, w, 3) of depth (H, W), averaged to the size at which normals are compared, to reduce noise."""
    rows, columns = depth.shape
    height = min(rows, _ROWS)
    width = round(columns * height / rows)
    known = cv2.resize((depth > 0).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    mean = cv2.resize(depth.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return normals_from_z_depth(np.where(known > 0.999, mean, 0), camera.scaled(height, width), _REACH)


def measure_axes(stored: np.ndarray, implied: np.ndarray) -> AxesMeasurement:
    """Compare stored vectors (H, W, 3), (0, 0, 0) = missing, with `implied_normals` (h, w, 3) of the same image."""
    height, width = implied.shape[:2]
    small = cv2.resize(stored, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    known = small.any(axis=-1) & implied.any(axis=-1)
    vectors, targets = small[known].astype(np.float64), implied[known]
    products = vectors * targets
    near = (cosines_along_axes(vectors, targets) > np.cos(np.radians(NEAR_ANGLE))).sum(axis=0)
    return AxesMeasurement(len(vectors), products.sum(axis=0), np.abs(products).sum(axis=0), near)


def add_measurements(measured: Sequence[AxesMeasurement]) -> AxesMeasurement:
    """The sum of the measurements of several images."""
    names = ("pixels", "same", "strength", "near")
    return AxesMeasurement(*(sum(getattr(one, name) for one in measured) for name in names))


def find_axes(total: AxesMeasurement) -> tuple[str, float]:
    """The key of `NORMAL_AXES` under which stored normals agree with depth, and the fraction of pixels that agree.

    Raises:
        UserError: when they agree under none, or the signs cannot be determined.
    """
    if total.pixels < _MIN_PIXELS:
        raise UserError("too few pixels have both a normal and a depth: the axes of the normals cannot be determined")
    votes = total.same / np.maximum(total.strength, 1e-9)
    signs = np.where(votes < 0, -1, 1)
    near = total.near / total.pixels
    best = int(near.argmax())
    fraction = near[[np.array_equal(axes, np.diag(signs)) for axes in ALL_AXES]][0]
    if near[best] > max(MIN_NEAR, fraction + 0.1):
        raise UserError(
            f"the normals agree with depth only if read as {axes_in_words(ALL_AXES[best])}: their channels are swapped"
        )
    if fraction < MIN_NEAR or np.abs(votes).min() < MIN_VOTE:
        raise UserError(
            f"the normals disagree with depth under any signs of the axes ({fraction:.0%} within {NEAR_ANGLE} degrees)"
        )
    name = next(name for name, axes in NORMAL_AXES.items() if np.array_equal(axes, signs))
    return name, float(fraction)


def estimate_normals(depth: np.ndarray, camera: Pinhole) -> np.ndarray:
    """Normals (H, W, 3) float32 of measured depth (H, W), smoothed with edges preserved, to replace ground truth."""
    smooth = cv2.bilateralFilter(depth.astype(np.float32), d=9, sigmaColor=0.05, sigmaSpace=4)
    reach = max(1, round(len(depth) / _ROWS))
    return normals_from_z_depth(np.where(depth > 0, smooth, 0), camera, reach).astype(np.float32)
