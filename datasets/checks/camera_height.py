"""The unit of depth, from the height of the camera above the floor, and whether floors are flat.

Cameras stand on tripods, so their height hardly varies. Floors appear bent if depth is not the distance along the ray
but the z coordinate of a view or cube face, the horizontal distance or a disparity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, median_low

import numpy as np

from datasets.checks.finding import TOLERATED_OUTLIERS, Finding, outside
from datasets.checks.surfaces import Surfaces, latitudes

# Meters. Real: 1.39 to 1.66; synthetic: 1.20 to 1.79. Correct heights of 1.03 to 1.85 m leave the
# range if 1/512 m and 1 mm are confused (a factor of 1.95, the smallest between common units).
HEIGHT_RANGE = (0.95, 2.0)
# For single panoramas. Detects 1/512 m mistaken for 1 mm up to 1.66 m, and the reverse from 1.15 m.
HEIGHT_RANGE_OF_PANORAMA = (0.85, 2.25)
MAX_RATIO = 1.5  # between a panorama's height and the median; real and synthetic: up to 1.25
# Fraction with a tilt below 11.25 degrees among the pixels 35 to 65 degrees down with a tilt below 30 degrees. Real
# 0.79 to 0.99 (median 0.89), synthetic 0.90 to 0.99, with noise of 0.2% in each pixel at least 0.76; z of
# Matterport3D's 18 views 0.30 to 0.55, z of cube faces and horizontal distance up to 0.21, logarithm 0.23 to 0.59.
MIN_FLATNESS = 0.67  # of the median panorama
MIN_FLATNESS_OF_PANORAMA = 0.6
MIN_WITH_FLOOR = 0.5  # fraction of the panoramas with a floor; real and synthetic: 1
UNITS_PER_METER = {  # common units of stored depth
    "1/4000 m": 4000,
    "1/512 m": 512,
    "1 mm": 1000,
    "1/256 m": 256,
    "1 cm": 100,
    "1/10 mm": 10000,
    "1/5000 m": 5000,
    "1 m": 1,
}
_TYPICAL_HEIGHT = 1.5  # meters
_BELOW = np.radians((35, 65))  # latitudes: normals are unreliable farther away and close to the pole
_LEANING, _LEVEL = np.cos(np.radians(30)), np.cos(np.radians(11.25))
_MIN_PIXELS = 20


@dataclass(frozen=True)
class FloorMeasurement:
    """Floor of one panorama.

    Attributes:
        height: height of the camera above the floor in meters; NaN: no floor.
        flatness: see `MIN_FLATNESS`; NaN: no such pixels.
        scale: meters per unit of the stored depth.
    """

    height: float
    flatness: float
    scale: float


def measure_floor(surfaces: Surfaces, implied: np.ndarray, scale: float) -> FloorMeasurement:
    """Measure the floor of a panorama, given the normals (H, W, 3) computed from its depth."""
    latitude = latitudes(len(implied))
    up = -implied[(latitude > _BELOW[0]) & (latitude < _BELOW[1]) & implied.any(axis=-1), 1]
    leaning = up > _LEANING
    flatness = float((up[leaning] > _LEVEL).mean()) if leaning.sum() >= _MIN_PIXELS else float("nan")
    return FloorMeasurement(surfaces.height, flatness, scale)


def evaluate_floors(ids: Sequence[str], floors: Sequence[FloorMeasurement], in_meters: bool = True) -> Finding:
    """Whether the height of the camera is plausible (if depth is in meters) and floors are flat."""
    num = len(floors)
    heights = np.array([floor.height for floor in floors])
    known = heights[np.isfinite(heights)]
    if len(known) < MIN_WITH_FLOOR * num:
        text = f"a floor is found in {len(known)} of {num} panoramas"
        return Finding("camera", [text], ["no floor is found below the camera"])
    height = median_low(known)
    flatness = _flatness(floors)
    above = f"{height:.2f} m above the floor (median; {known.min():.2f} to {known.max():.2f} m); "
    finding = Finding("camera", [f"{above if in_meters else ''}{flatness:.1%} of the floor is level"])
    if not are_flat(floors):
        finding.rows.append("floors are bent: is depth a z coordinate, a horizontal distance or inverse depth?")
        finding.problems.append("depth is not the distance along the ray")
    elif in_meters and outside(height, HEIGHT_RANGE):
        finding.rows.append(_advice(height, floors))
        finding.problems.append(f"wrong unit of depth: the camera would be {height:.2f} m above the floor")
    else:
        finding.add_outliers(
            [
                f"{name}: camera {found:.2f} m above the floor"
                for name, found in zip(ids, heights, strict=True)
                if in_meters
                and (outside(found, HEIGHT_RANGE_OF_PANORAMA) or outside(found / height, (1 / MAX_RATIO, MAX_RATIO)))
            ],
            num,
            "unusual height of the camera, or no floor: another unit of depth?",
            TOLERATED_OUTLIERS,
        )
        finding.add_outliers(
            [
                f"{name}: {floor.flatness:.1%} of its floor is level"
                for name, floor in zip(ids, floors, strict=True)
                if floor.flatness < MIN_FLATNESS_OF_PANORAMA
            ],
            num,
            "bent floors: depth that is not the distance along the ray?",
            TOLERATED_OUTLIERS,
        )
    return finding


def are_flat(floors: Sequence[FloorMeasurement]) -> bool:
    """Whether floors are flat, as they are if depth is the distance along the ray."""
    return _flatness(floors) >= MIN_FLATNESS


def _flatness(floors: Sequence[FloorMeasurement]) -> float:
    return median([floor.flatness for floor in floors if np.isfinite(floor.flatness)] or [0.0])


def _advice(height: float, floors: Sequence[FloorMeasurement]) -> str:
    """A row with the units that would give a plausible height, most likely first."""
    scale = floors[0].scale
    if len({floor.scale for floor in floors}) == 1:
        plausible = {
            unit: found
            for unit, per_meter in UNITS_PER_METER.items()
            if not outside(found := height / (scale * per_meter), HEIGHT_RANGE)
        }
        likeliest = sorted(plausible, key=lambda unit: abs(np.log(plausible[unit] / _TYPICAL_HEIGHT)))
        if likeliest:
            return "it would be " + " or ".join(
                f"{plausible[unit]:.2f} m if depth were in {unit}" for unit in likeliest
            )
    return "no common unit gives a plausible height: is depth relative to the largest one of each panorama?"
