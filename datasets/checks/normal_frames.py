"""Detect the frame and axes of stored normals by comparing them with the normals that depth implies.

The normals of a panorama are read in 98 ways. Of each the fraction that agrees with depth is kept:

* frame "camera": the panorama's own, with any of the 48 orders and signs of the axes;
* frame "view": a frame that faces the pixel's own longitude, with any of the 48. Where normals of perspective views
  were stitched without turning them, this is right to within the width of a view;
* frame "building": the panorama has been turned in a way of its own, which is estimated from the normals themselves;
* the same, mirrored.

Without depth it can still be checked that normals point towards the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.checks.finding import TOLERATED_OUTLIERS, Finding
from datasets.preparation.axes import ALL_AXES, axes_in_words
from utils.sphere import erp_rays, pixels_to_angles

NEAR_ANGLE = 11.25  # degrees: the fraction of smaller angles is the strictest that papers report
FRAMES = ("camera",) * 48 + ("view",) * 48 + ("building", "mirrored building")  # of the readings, in this order
CAMERA, BUILDING = 0, FRAMES.index("building")
# Fraction of the normals below NEAR_ANGLE, read rightly: real 0.72 to 0.95 (mean 0.86), synthetic 0.68 (32 rows) to
# 0.91; the best of all readings with z of 18 views 0.40 to 0.62, with z of cube faces up to 0.21.
MIN_NEAR = 0.65  # of the mean over all panoramas
MIN_NEAR_OF_PANORAMA = 0.5  # with 32 rows a right one had 0.57
MIN_FACING = 0.95  # fraction of the normals that point to the camera; real and synthetic: 0.99 to 1
# Another reading's fraction less the right one's: real -0.41 to -0.04, synthetic down to -0.06. So whatever is better
# at all is right; a mirrored corridor gains no more than 0.04.
MAX_EXCESS = 0.02
_MAX_EXCESS_TURNED = 0.1  # a rotation fitted to each panorama gains up to 0.01, and more if a camera is not upright
_MIN_EXPLAINED = 0.4  # a reading that makes fewer agree explains nothing
MAX_TILT = 20.0  # degrees between the verticals of panoramas whose normals are all of the building
MIN_KNOWN = 0.3  # fraction of the pixels; real and synthetic: 0.9 to 1, stitched panoramas about 0.6
MIN_KNOWN_OF_PANORAMA = 0.05
_MOST_PIXELS = 4096  # of a panorama: more would only take time
_FEWEST_PIXELS = 200  # a rotation can be fitted to very few pixels whatever they are
_HIGHEST_LATITUDE = np.radians(60)  # stitched panoramas hold little that is reliable closer to the poles


@dataclass(frozen=True)
class NormalMeasurement:
    """The normals of one panorama.

    Attributes:
        known: fraction of the pixels with a normal.
        agreeing: (98,) fraction that agrees in each reading; None if too few pixels can be compared.
        up: (3,) what points up, in the stored frame, by the rotation fitted to the panorama.
    """

    known: float
    agreeing: np.ndarray | None = None
    up: np.ndarray | None = None


def measure_normals(stored: np.ndarray, implied: np.ndarray | None) -> NormalMeasurement:
    """Compare the normals of a panorama in all readings.

    Args:
        stored: (H, W, 3) unit normals, decoded as the dataset says, (0, 0, 0) = missing.
        implied: (H, W, 3) those that depth implies, in the camera frame; None: only compare with the rays.
    """
    height, width = stored.shape[:2]
    known = stored.any(axis=-1)
    u, v = pixels_to_angles(np.arange(height)[:, None], np.arange(width)[None, :], height, width)
    targets = -erp_rays(height, width) if implied is None else implied
    fit = np.flatnonzero(known & targets.any(axis=-1) & (np.abs(v) < _HIGHEST_LATITUDE))
    if len(fit) < _FEWEST_PIXELS:
        return NormalMeasurement(float(known.mean()))
    fit = fit[np.linspace(0, len(fit) - 1, min(len(fit), _MOST_PIXELS)).astype(int)]
    vectors = stored.reshape(-1, 3)[fit].astype(np.float32)
    targets = targets.reshape(-1, 3)[fit].astype(np.float32)
    limit = 0.0 if implied is None else np.cos(np.radians(NEAR_ANGLE))
    longitude = np.broadcast_to(u, known.shape).ravel()[fit]
    in_views = _turned_about_vertical(targets, -longitude)
    turned, rotation = _turned(vectors, targets)
    mirrored, _ = _turned(-vectors, targets)
    agreeing = [
        *_of_all_axes(vectors, targets, limit),
        *_of_all_axes(vectors, in_views, limit),
        *(((found * targets).sum(axis=1) > limit).mean() for found in (turned, mirrored)),
    ]
    return NormalMeasurement(float(known.mean()), np.array(agreeing, np.float32), rotation.T @ [0, -1, 0])


def evaluate_normals(
    ids: Sequence[str], normals: Sequence[NormalMeasurement], normal_frame: str, with_depth: bool
) -> Finding:
    """Whether the stored normals agree with depth, and if not, how they would have to be read to do so.

    Args:
        ids, normals: of each panorama.
        normal_frame: what the normals are said to be in, "camera" or "world" (see `datasets.panorama.Panorama`).
        with_depth: whether they were compared with depth, or with the rays alone.
    """
    known = np.array([one.known for one in normals])
    finding = Finding("normals", [f"known in {known.mean():.1%} of the pixels"])
    if known.mean() < MIN_KNOWN:
        finding.problems.append(f"only {known.mean():.1%} of the normals are known")
    finding.add_outliers(
        [f"{ids[i]}: {known[i]:.1%} of its normals are known" for i in np.flatnonzero(known < MIN_KNOWN_OF_PANORAMA)],
        len(normals),
        "hardly any normals",
        TOLERATED_OUTLIERS,
    )
    compared = [(name, one) for name, one in zip(ids, normals, strict=True) if one.agreeing is not None]
    if normal_frame == "world" and not with_depth:
        finding.rows.append("those of the building can only be compared with depth, which is not checked")
    elif len(compared) < len(normals) / 2:
        finding.rows.append(f"they can be compared with depth in {len(compared)} of {len(normals)} panoramas")
        finding.problems.append("no normals to compare with depth")
    else:
        given = BUILDING if normal_frame == "world" else CAMERA
        _evaluate_all(finding, np.mean([one.agreeing for _, one in compared], axis=0), given, with_depth)
        _evaluate_each(finding, compared, given, MIN_NEAR_OF_PANORAMA if with_depth else MIN_FACING)
    return finding


def _evaluate_all(finding: Finding, agreeing: np.ndarray, given: int, with_depth: bool) -> None:
    """All panoramas together, by the mean of each reading."""
    words = f"differ from depth by less than {NEAR_ANGLE} degrees" if with_depth else "point towards the camera"
    text = f"{agreeing[given]:.1%} {words}"
    reference = "depth" if with_depth else "the camera"
    better = better_reading(agreeing, given)
    if better is not None:
        finding.rows += [text, f"{agreeing[better]:.1%} would {reading_in_words(better)}"]
        finding.problems.append(f"normals disagree with {reference}")
    elif agreeing[given] < (MIN_NEAR if with_depth else MIN_FACING):
        finding.rows += [text, "no order or sign of the axes, and no other frame, fixes it"]
        finding.problems.append(f"normals disagree with {reference}")
    elif given == BUILDING and agreeing[CAMERA] > agreeing[BUILDING] - MAX_EXCESS:
        # What agrees in the camera's frame agrees in any other: only this reveals that the option is wrong.
        finding.rows += [text, "they agree as they are: drop --normal_frame world"]
        finding.problems.append("normals are in the camera's frame")
    else:
        turned = ", each panorama turned by its own rotation" if given == BUILDING else ""
        finding.rows.append(text + turned)


def _evaluate_each(
    finding: Finding, compared: Sequence[tuple[str, NormalMeasurement]], given: int, lowest: float
) -> None:
    """Each panorama on its own."""
    in_another_frame, disagreeing, tilted = [], [], []
    up = _unit(np.median([one.up for _, one in compared], axis=0))
    for name, one in compared:
        better = better_reading(one.agreeing, given)
        if better is not None:
            found = f"{one.agreeing[given]:.1%} of its normals agree, {one.agreeing[better]:.1%} would"
            in_another_frame.append(f"{name}: {found} {reading_in_words(better)}")
        elif one.agreeing[given] < lowest:
            disagreeing.append(f"{name}: {one.agreeing[given]:.1%} of its normals agree")
        elif given == BUILDING and one.up @ up < np.cos(np.radians(MAX_TILT)):
            tilted.append(f"{name}: the vertical of its normals is another")
    num = len(compared)
    finding.add_outliers(in_another_frame, num, "normals in another frame")
    finding.add_outliers(disagreeing, num, "normals that disagree", TOLERATED_OUTLIERS)
    finding.add_outliers(tilted, num, "normals in another frame of the building")


def better_reading(agreeing: np.ndarray, given: int) -> int | None:
    """The simplest reading that agrees better than the given one, and about as well as any; None if there is none.

    Args:
        agreeing: (98,) fraction of the normals that agrees in each reading.
        given: index of the reading that the dataset says.
    """
    turned = np.array([frame.endswith("building") for frame in FRAMES])
    better = agreeing > agreeing[given] + np.where(turned & (given == CAMERA), _MAX_EXCESS_TURNED, MAX_EXCESS)
    better &= agreeing > _MIN_EXPLAINED
    if given == BUILDING:  # a camera's own frame is explained by any rotation
        better[:48] = False
    if not better.any():
        return None
    best = agreeing[better].max()
    frame = FRAMES[int(np.flatnonzero(better & (agreeing > best - MAX_EXCESS))[0])]
    in_frame = np.array([frame == other for other in FRAMES])
    return int(np.where(in_frame & better, agreeing, -1).argmax())


def reading_in_words(reading: int) -> str:
    """How normals have to be read, after "they would"."""
    frame, axes = FRAMES[reading], ALL_AXES[reading % 48]
    if frame == "camera":
        return f"if read as {axes_in_words(axes)}"
    if frame == "view":
        as_axes = "" if reading % 48 == 0 else f", read as {axes_in_words(axes)}"
        return f"in the frame of each stitched view{as_axes}"
    if frame == "building":
        return "in a frame of the building: use --normal_frame world, or turn them"
    return "in a frame of the building, mirrored: mirror and turn them"


def _of_all_axes(vectors: np.ndarray, targets: np.ndarray, limit: float) -> np.ndarray:
    """(48,) fraction of vectors (N, 3) whose cosine with their targets exceeds a limit, for each of `ALL_AXES`."""
    products = (targets[:, :, None] * vectors[:, None, :]).reshape(-1, 9)
    cosines = products @ ALL_AXES.reshape(-1, 9).T.astype(np.float32)
    return (cosines > limit).mean(axis=0)


def _turned_about_vertical(vectors: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Vectors (N, 3), each turned by its own angle (N,) in radians as `utils.sphere.yaw_rotation` turns."""
    x, y, z = vectors.T
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=1)


def _turned(vectors: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (N, 3) after the rotation (3, 3) that best turns them into their targets, outliers left out."""
    kept = np.ones(len(vectors), bool)
    for largest_angle in (30, 15, None):
        rotation = _kabsch(vectors[kept], targets[kept])
        if largest_angle is not None:
            close = (vectors @ rotation.T * targets).sum(axis=1) > np.cos(np.radians(largest_angle))
            kept = close if close.sum() >= _FEWEST_PIXELS / 2 else kept
    return vectors @ rotation.T, rotation


def _kabsch(vectors: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Kabsch's rotation: from the singular value decomposition of the sum of the outer products."""
    left, _, right = np.linalg.svd(targets.T.astype(np.float64) @ vectors)
    left[:, 2] *= np.sign(np.linalg.det(left @ right))  # never a mirror image
    return left @ right


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(np.linalg.norm(vector), 1e-9)
