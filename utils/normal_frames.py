"""In which frame, and along which axes, normals are stored: found by comparing them with those that depth implies.

Normals are drawn at random pixels (`draw_pairs`) and read in many ways (`judge_normals`):

* frame "camera": the panorama's own, with any of the 48 orders and signs of the axes;
* frame "view": a frame that faces the pixel's own longitude. Where normals of perspective views were stitched without
  turning them, this is right to within the width of a view;
* frame "building": each panorama has been turned in a way of its own, which is estimated from its own pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from utils.normals_from_depth import angles_between, normals_from_depth
from utils.sphere import pixels_to_angles

PAIRS_PER_PANORAMA = 200
NEAR_ANGLE = 11.25  # degrees: the share of smaller angles is the strictest that papers report
AGREEING_ANGLE = 15.0  # degrees: a larger median means that something is wrong
_CLEARLY = 5.0  # degrees: a reading is preferred to simpler ones only if its median is lower by more than this
_FEWEST_PAIRS = 20  # of a panorama: a rotation can be fitted to very few pairs whatever they are
_HIGHEST_LATITUDE = np.radians(60)  # stitched panoramas hold little that is reliable closer to the poles
_REACH = 2  # see `normals_from_depth`
# All 48 orders and signs of the axes, (48, 3, 3); the first changes nothing.
ALL_AXES = np.array(
    [
        np.diag(signs) @ np.eye(3)[list(order)]
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]
)
_UNCHANGED = ALL_AXES[0]
_MIRRORED = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class NormalPairs:
    """N stored normals beside those that depth implies.

    Attributes:
        stored: (N, 3) unit vectors, decoded as the dataset says.
        implied: (N, 3) unit vectors in the camera frame, towards the camera.
        longitude: (N,) radians, of the pixel.
        panorama: (N,) int, which panorama of several; 0, 1, 2, ...
    """

    stored: np.ndarray
    implied: np.ndarray
    longitude: np.ndarray
    panorama: np.ndarray

    def __len__(self) -> int:
        return len(self.stored)


@dataclass(frozen=True)
class Reading:
    """One way to read the stored normals, and how well they then agree with depth.

    Attributes:
        frame: "camera", "view" or "building", see the top of this file.
        axes: (3, 3), from the stored triple to a vector in that frame.
        median: angle in degrees.
        near: share of the angles below `NEAR_ANGLE`.
    """

    frame: str
    axes: np.ndarray
    median: float
    near: float

    @property
    def is_changed(self) -> bool:
        return not np.array_equal(self.axes, _UNCHANGED)


@dataclass(frozen=True)
class Judgement:
    """Whether stored normals agree with depth, and in words how far, or how else they would.

    Attributes:
        problem: a few words; empty when all is right.
        text: one line.
    """

    problem: str
    text: str


def draw_pairs(stored: np.ndarray, depth: np.ndarray, seed: int) -> NormalPairs:
    """Pairs from random pixels of a panorama, all with number 0; none at all if too few pixels are fit for it.

    Args:
        stored: (H, W, 3) unit normals, (0, 0, 0) = missing. 256 rows or so are best: with more the steps of the
            quantised depth would show.
        depth: (H, W) metres along the ray, 0 = missing.
        seed: another one draws other pixels.
    """
    implied = normals_from_depth(depth, _REACH)
    height, width = depth.shape
    u, v = pixels_to_angles(np.arange(height)[:, None], np.arange(width)[None, :], height, width)
    fit = stored.any(axis=-1) & implied.any(axis=-1) & (np.abs(v) < _HIGHEST_LATITUDE)
    pixels = np.flatnonzero(fit)
    num = min(len(pixels), PAIRS_PER_PANORAMA) if len(pixels) >= _FEWEST_PAIRS else 0
    chosen = np.random.default_rng(seed).choice(pixels, num, replace=False)
    row, col = np.unravel_index(chosen, depth.shape)
    return NormalPairs(
        stored=stored[row, col].astype(np.float32),
        implied=implied[row, col].astype(np.float32),
        longitude=u[0, col].astype(np.float32),
        panorama=np.zeros(num, np.int64),
    )


def join_pairs(of_panoramas: Sequence[NormalPairs]) -> NormalPairs:
    """The pairs of several panoramas together, numbered by their place."""
    return NormalPairs(
        stored=np.concatenate([pairs.stored for pairs in of_panoramas]),
        implied=np.concatenate([pairs.implied for pairs in of_panoramas]),
        longitude=np.concatenate([pairs.longitude for pairs in of_panoramas]),
        panorama=np.repeat(np.arange(len(of_panoramas)), [len(pairs) for pairs in of_panoramas]),
    )


def judge_normals(pairs: NormalPairs, normal_frame: str) -> Judgement:
    """Whether the stored normals agree with depth, and if not, how they had to be read to do so.

    Args:
        pairs: of all panoramas.
        normal_frame: what the normals are said to be in, "camera" or "world" (see `datasets.panorama.Panorama`).
    """
    if not len(pairs):
        return Judgement("no normals to compare with depth", "no pixel has both a normal and a depth around it")
    given = _read(pairs, "building" if normal_frame == "world" else "camera", _UNCHANGED)
    figures = f"median {_degrees(given.median)}, {given.near:.1%} below {NEAR_ANGLE} degrees"
    if given.median > AGREEING_ANGLE:
        better = _better_reading(pairs, given)
        return Judgement("normals disagree with depth", f"disagree with depth: {figures}; {_advice(better)}")
    if normal_frame == "world":
        in_camera = _read(pairs, "camera", _UNCHANGED)
        if in_camera.median < given.median + _CLEARLY:
            # What agrees in the camera's frame agrees in any other: only this tells that the option is wrong.
            text = f"agree with depth as they are ({_degrees(in_camera.median)}): leave out --normal_frame world"
            return Judgement("normals are in the camera's frame", text)
        figures += ", each panorama turned by a rotation of its own"
    return Judgement("", f"agree with depth: {figures}")


def _better_reading(pairs: NormalPairs, given: Reading) -> Reading | None:
    """The reading that agrees clearly better than the given one and than all simpler ones; None if there is none."""
    best = given
    for reading in (
        _read_best(pairs, "camera"),
        _read_best(pairs, "view"),
        _read(pairs, "building", _UNCHANGED),
        _read(pairs, "building", _MIRRORED),
    ):
        if reading.median < best.median - _CLEARLY:
            best = reading
    # A rotation fitted to each panorama lowers any median a little, that of nonsense too.
    return best if best.median < given.median / 2 else None


def _advice(better: Reading | None) -> str:
    if better is None:
        return "no order or sign of the axes, and no other frame, would mend it"
    as_axes = f"read as {axes_in_words(better.axes)}"
    if better.frame == "camera":
        how = f"if {as_axes}"
    elif better.frame == "view":
        how = "in the frame of each stitched view" + (f", {as_axes}" if better.is_changed else "")
    elif better.is_changed:
        how = "in a frame of the building, mirrored: mirror and turn them"
    else:
        how = "in a frame of the building: use --normal_frame world, or turn them"
    agree = "agree" if better.median <= AGREEING_ANGLE else "agree better"
    return f"they would {agree} ({_degrees(better.median)}) {how}"


def axes_in_words(axes: np.ndarray) -> str:
    """What `axes` (3, 3) makes of (x, y, z), such as "(x, -y, z)"."""
    names = [("-" if row.sum() < 0 else "") + "xyz"[int(np.abs(row).argmax())] for row in axes]
    return f"({', '.join(names)})"


def _degrees(angle: float) -> str:
    return f"{angle:.1f} degrees"


def _read_best(pairs: NormalPairs, frame: str) -> Reading:
    """The order and signs of the axes that agree best in a frame."""
    return min((_read(pairs, frame, axes) for axes in ALL_AXES), key=lambda reading: reading.median)


def _read(pairs: NormalPairs, frame: str, axes: np.ndarray) -> Reading:
    vectors = pairs.stored @ axes.T.astype(np.float32)
    if frame == "view":
        vectors = _turned_about_vertical(vectors, pairs.longitude)
    elif frame == "building":
        rotations = _fit_rotations(vectors, pairs.implied, pairs.panorama)
        vectors = np.einsum("nij,nj->ni", rotations[pairs.panorama], vectors)
    angles = angles_between(vectors, pairs.implied)
    return Reading(frame, axes, float(np.median(angles)), float((angles < NEAR_ANGLE).mean()))


def _turned_about_vertical(vectors: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Vectors (N, 3), each turned by its own angle (N,) in radians as `utils.sphere.yaw_rotation` turns."""
    x, y, z = vectors.T
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=1)


def _fit_rotations(vectors: np.ndarray, targets: np.ndarray, group: np.ndarray) -> np.ndarray:
    """For each group the rotation, (groups, 3, 3), that best turns its vectors (N, 3) into their targets (N, 3).

    Kabsch's way: from the singular value decomposition of the sum of the outer products.
    """
    products = np.zeros((group.max() + 1, 3, 3))
    np.add.at(products, group, targets[:, :, None] * vectors[:, None, :])
    left, _, right = np.linalg.svd(products)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]  # never a mirror image
    return left @ right
