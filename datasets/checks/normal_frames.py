"""Detects the frame and axes of stored normals by comparing them with normals computed from depth.

98 hypotheses are tested on each panorama, by the fraction of normals that then agree with depth:

* frame "camera": the camera frame of the panorama, with any of the 48 orders and signs of the axes;
* frame "view": at each pixel the frame that faces its longitude, with any of the 48. This matches, to within the width
  of a view, normals of perspective views that were stitched without rotating them;
* frame "building": rotated by an unknown rotation per panorama, which is estimated from the normals themselves;
* frame "mirrored building": the same, mirrored.

Without depth, the check is only that normals point toward the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from datasets.checks.finding import TOLERATED_OUTLIERS, Finding
from datasets.preparation.axes import ALL_AXES, axes_in_words, cosines_along_axes
from utils.sphere import erp_rays, pixels_to_angles

NEAR_ANGLE = 11.25  # degrees: the fraction of smaller angles is the strictest that papers report
# Fraction of the normals below NEAR_ANGLE under the right hypothesis: real 0.72 to 0.95 (mean 0.86), synthetic 0.68
# (32 rows) to 0.91. For wrong depth, under the best hypothesis: z of 18 views 0.40 to 0.62, of cube faces up to 0.21.
MIN_NEAR = 0.65  # of the mean over all panoramas
MIN_NEAR_OF_PANORAMA = 0.5  # the lowest correct value, with 32 rows: 0.57
MIN_FACING = 0.95  # fraction of the normals that point to the camera; real and synthetic: 0.99 to 1
# Fraction under a wrong hypothesis minus that under the right one: real -0.41 to -0.04, synthetic up to -0.06. So any
# hypothesis that is clearly better is right; a mirrored corridor gains no more than 0.04.
MAX_EXCESS = 0.02
_MAX_EXCESS_ROTATED = 0.1  # a rotation fitted to each panorama gains up to 0.01, more if the camera is tilted
_MIN_EXPLAINED = 0.4  # a hypothesis under which fewer normals agree explains nothing
MAX_TILT = 20.0  # degrees between the verticals of panoramas whose normals are all in the frame of the building
MIN_KNOWN = 0.3  # fraction of the pixels; real and synthetic: 0.9 to 1, stitched panoramas about 0.6
MIN_KNOWN_OF_PANORAMA = 0.05
_MAX_PIXELS = 4096  # of a panorama: more take time and add nothing
_MIN_PIXELS = 200  # a rotation can be fitted to any few pixels
_MAX_LATITUDE = np.radians(60)  # stitched panoramas have few reliable pixels closer to the poles


class FrameHypothesis(NamedTuple):
    """A frame in which normals may be stored.

    Attributes:
        frame: "camera", "view", "building" or "mirrored building".
        axes: order and signs of the axes, an index into `ALL_AXES`; 0 is (x, y, z).
    """

    frame: str
    axes: int = 0

    def describe(self) -> str:
        """The hypothesis in words, after "they would agree"."""
        if self.frame == "camera":
            return f"if read as {axes_in_words(ALL_AXES[self.axes])}"
        if self.frame == "view":
            as_axes = "" if self.axes == 0 else f", read as {axes_in_words(ALL_AXES[self.axes])}"
            return f"in the frame of each stitched view{as_axes}"
        if self.frame == "building":
            return "in a frame of the building: use --normal_frame world, or rotate them"
        return "in a frame of the building, mirrored: mirror and rotate them"


HYPOTHESES = (
    *(FrameHypothesis("camera", axes) for axes in range(48)),
    *(FrameHypothesis("view", axes) for axes in range(48)),
    FrameHypothesis("building"),
    FrameHypothesis("mirrored building"),
)
CAMERA, BUILDING = 0, HYPOTHESES.index(FrameHypothesis("building"))


@dataclass(frozen=True)
class NormalMeasurement:
    """Normals of one panorama.

    Attributes:
        known: fraction of the pixels with a normal.
        agreeing: (98,) fraction of the normals that agree under each hypothesis; None: too few can be compared.
        up: (3,) up direction in the stored frame, according to the rotation fitted to the panorama.
    """

    known: float
    agreeing: np.ndarray | None = None
    up: np.ndarray | None = None


def measure_normals(stored: np.ndarray, implied: np.ndarray | None) -> NormalMeasurement:
    """Compare the normals of a panorama with depth under all hypotheses.

    Args:
        stored: (H, W, 3) unit normals, as the dataset decodes them, (0, 0, 0) = missing.
        implied: (H, W, 3) normals computed from depth, in the camera frame; None: compare with the rays.
    """
    height, width = stored.shape[:2]
    known = stored.any(axis=-1)
    u, v = pixels_to_angles(np.arange(height)[:, None], np.arange(width)[None, :], height, width)
    targets = -erp_rays(height, width) if implied is None else implied
    fit = np.flatnonzero(known & targets.any(axis=-1) & (np.abs(v) < _MAX_LATITUDE))
    if len(fit) < _MIN_PIXELS:
        return NormalMeasurement(float(known.mean()))
    fit = fit[np.linspace(0, len(fit) - 1, min(len(fit), _MAX_PIXELS)).astype(int)]
    vectors = stored.reshape(-1, 3)[fit].astype(np.float32)
    targets = targets.reshape(-1, 3)[fit].astype(np.float32)
    limit = 0.0 if implied is None else np.cos(np.radians(NEAR_ANGLE))
    longitude = np.broadcast_to(u, known.shape).ravel()[fit]
    in_views = _rotated_about_vertical(targets, -longitude)
    rotated, rotation = _rotated(vectors, targets)
    mirrored, _ = _rotated(-vectors, targets)
    agreeing = [
        *(cosines_along_axes(vectors, targets) > limit).mean(axis=0),
        *(cosines_along_axes(vectors, in_views) > limit).mean(axis=0),
        *(((found * targets).sum(axis=1) > limit).mean() for found in (rotated, mirrored)),
    ]
    return NormalMeasurement(float(known.mean()), np.array(agreeing, np.float32), rotation.T @ [0, -1, 0])


def evaluate_normals(
    ids: Sequence[str], normals: Sequence[NormalMeasurement], normal_frame: str, with_depth: bool
) -> Finding:
    """Whether the stored normals agree with depth, and if not, under which hypothesis they would.

    Args:
        ids, normals: one per panorama.
        normal_frame: the declared frame, "camera" or "world" (see `datasets.panorama.Panorama`).
        with_depth: whether they were compared with depth; otherwise with the rays.
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
        finding.rows.append("normals in a building frame can only be compared with depth, which is not available")
    elif len(compared) < len(normals) / 2:
        reference = "depth" if with_depth else "the camera"
        finding.rows.append(f"they can be compared with {reference} in {len(compared)} of {len(normals)} panoramas")
        finding.problems.append(f"too few normals to compare with {reference}")
    else:
        given = BUILDING if normal_frame == "world" else CAMERA
        _evaluate_all(finding, np.mean([one.agreeing for _, one in compared], axis=0), given, with_depth)
        _evaluate_each(finding, compared, given, MIN_NEAR_OF_PANORAMA if with_depth else MIN_FACING)
    return finding


def _evaluate_all(finding: Finding, agreeing: np.ndarray, given: int, with_depth: bool) -> None:
    """Evaluate all panoramas together, by the mean (98,) over panoramas of `NormalMeasurement.agreeing`."""
    words = f"differ from depth by less than {NEAR_ANGLE} degrees" if with_depth else "point toward the camera"
    text = f"{agreeing[given]:.1%} {words}"
    reference = "depth" if with_depth else "the camera"
    better = better_hypothesis(agreeing, given)
    if better is not None:
        finding.rows += [text, f"{agreeing[better]:.1%} would {HYPOTHESES[better].describe()}"]
        finding.problems.append(f"normals disagree with {reference}")
    elif agreeing[given] < (MIN_NEAR if with_depth else MIN_FACING):
        finding.rows += [text, "no order or sign of the axes, and no other frame, explains them"]
        finding.problems.append(f"normals disagree with {reference}")
    elif given == BUILDING and agreeing[CAMERA] > agreeing[BUILDING] - MAX_EXCESS:
        # A fitted rotation also explains normals in the camera frame: only this comparison reveals the wrong option.
        finding.rows += [text, "they agree as they are: drop --normal_frame world"]
        finding.problems.append("normals are in the camera's frame")
    else:
        rotated = ", each panorama rotated by its own rotation" if given == BUILDING else ""
        finding.rows.append(text + rotated)


def _evaluate_each(
    finding: Finding, compared: Sequence[tuple[str, NormalMeasurement]], given: int, lowest: float
) -> None:
    """Evaluate each panorama separately."""
    in_another_frame, disagreeing, tilted = [], [], []
    up = _unit(np.median([one.up for _, one in compared], axis=0))
    for name, one in compared:
        better = better_hypothesis(one.agreeing, given)
        if better is not None:
            found = f"{one.agreeing[given]:.1%} of its normals agree, {one.agreeing[better]:.1%} would"
            in_another_frame.append(f"{name}: {found} {HYPOTHESES[better].describe()}")
        elif one.agreeing[given] < lowest:
            disagreeing.append(f"{name}: {one.agreeing[given]:.1%} of its normals agree")
        elif given == BUILDING and one.up @ up < np.cos(np.radians(MAX_TILT)):
            tilted.append(f"{name}: its normals have another vertical than most panoramas")
    num = len(compared)
    finding.add_outliers(in_another_frame, num, "normals in another frame")
    finding.add_outliers(disagreeing, num, "normals that disagree", TOLERATED_OUTLIERS)
    finding.add_outliers(tilted, num, "normals in another frame of the building")


def better_hypothesis(agreeing: np.ndarray, given: int) -> int | None:
    """Index of the simplest of the best hypotheses that are clearly better than the given one; None: none is.

    Args:
        agreeing: (98,) fraction of the normals that agree under each hypothesis.
        given: index of the declared hypothesis.
    """
    frames = [hypothesis.frame for hypothesis in HYPOTHESES]
    rotated = np.array([frame.endswith("building") for frame in frames])
    better = agreeing > agreeing[given] + np.where(rotated & (given == CAMERA), _MAX_EXCESS_ROTATED, MAX_EXCESS)
    better &= agreeing > _MIN_EXPLAINED
    if given == BUILDING:  # a rotation also explains normals in the camera frame
        better[:48] = False
    if not better.any():
        return None
    best = agreeing[better].max()
    simplest = frames[int(np.flatnonzero(better & (agreeing > best - MAX_EXCESS))[0])]
    in_frame = np.array([frame == simplest for frame in frames])
    return int(np.where(in_frame & better, agreeing, -1).argmax())


def _rotated_about_vertical(vectors: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Vectors (N, 3), rotated by angles (N,) in radians as by `utils.sphere.yaw_rotation`."""
    x, y, z = vectors.T
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=1)


def _rotated(vectors: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (N, 3) after the rotation that best maps them to their targets, outliers ignored, and the rotation."""
    kept = np.ones(len(vectors), bool)
    for largest_angle in (30, 15, None):
        rotation = _kabsch(vectors[kept], targets[kept])
        if largest_angle is not None:
            close = (vectors @ rotation.T * targets).sum(axis=1) > np.cos(np.radians(largest_angle))
            kept = close if close.sum() >= _MIN_PIXELS / 2 else kept
    return vectors @ rotation.T, rotation


def _kabsch(vectors: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) that best maps vectors to targets (Kabsch algorithm)."""
    left, _, right = np.linalg.svd(targets.T.astype(np.float64) @ vectors)
    left[:, 2] *= np.sign(np.linalg.det(left @ right))  # never a mirror image
    return left @ right


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(np.linalg.norm(vector), 1e-9)
