"""Checks of labels: floors are below and face up, ceilings are above and face down, walls are vertical."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.checks.finding import TOLERATED_OUTLIERS, Finding
from datasets.checks.surfaces import Surfaces, latitudes

STRUCTURE = ("floor", "ceiling", "wall")  # classes with known directions, in all datasets
MIN_LABELED = 0.2  # fraction of the pixels; synthetic 0.8 to 1, though many classes of Structured3D are ignored
MIN_LABELED_OF_PANORAMA = 0.05
MAX_OF_CLASS = 0.9  # fraction of the labeled pixels; walls, the most frequent class, have 0.3 to 0.5
# Fraction of the pixels of a class with the right position and direction. Synthetic 0.85 to 1; labels that are shifted
# by one, or from another list, below 0.5.
MIN_RIGHT = 0.7
MIN_RIGHT_OF_PANORAMA = 0.5
# Fraction of the labeled pixels on floors (by geometry) that are labeled floor; the same for ceilings. Synthetic: 0.8
# to 1.
MIN_FOUND_OF_PANORAMA = 0.2
_WITHIN = np.cos(np.radians(45))  # from the vertical; walls are beyond
_MIN_PIXELS = 50  # for the evaluation of a panorama


@dataclass(frozen=True)
class LabelMeasurement:
    """Labels of one panorama with `classes` classes.

    Attributes:
        pixels: number of pixels.
        labels: (classes,) pixels of each class.
        with_direction: (3,) pixels of each class of `STRUCTURE` with a known direction.
        right: (3,) those with the right position and direction.
        on_surface: (2, classes) pixels of each class on floors and on ceilings, found by geometry.
    """

    pixels: int
    labels: np.ndarray
    with_direction: np.ndarray
    right: np.ndarray
    on_surface: np.ndarray


def measure_labels(
    labels: np.ndarray, small: np.ndarray, names: Sequence[str], normal: np.ndarray | None, surfaces: Surfaces
) -> LabelMeasurement:
    """Measure the labels of a panorama.

    Args:
        labels: (H, W) int8 at the stored size, -1 = ignore.
        small: (h, w) the same at the size of the other maps.
        names: class names.
        normal: (h, w, 3) in the camera frame, (0, 0, 0) = missing; None if unknown: only the latitude is used.
        surfaces: floor and ceiling by geometry.
    """
    num = len(names)
    floor, ceiling, wall = (small == names.index(name) for name in STRUCTURE)
    below = np.broadcast_to(latitudes(len(small)) > 0, small.shape)
    if normal is None:
        known = ~wall
        right = floor & below, ceiling & ~below, np.zeros_like(wall)
    else:
        known, y = normal.any(axis=-1), normal[..., 1]
        right = floor & below & (y < -_WITHIN), ceiling & ~below & (y > _WITHIN), wall & (np.abs(y) < _WITHIN)
    return LabelMeasurement(
        pixels=labels.size,
        labels=np.bincount(labels[labels >= 0], minlength=num),
        with_direction=np.array([np.count_nonzero(mask & known) for mask in (floor, ceiling, wall)]),
        right=np.array([np.count_nonzero(mask & known) for mask in right]),
        on_surface=np.array(
            [np.bincount(small[mask & (small >= 0)], minlength=num) for mask in (surfaces.floor, surfaces.ceiling)]
        ),
    )


def evaluate_labels(
    ids: Sequence[str], measured: Sequence[LabelMeasurement], names: Sequence[str], is_geometry_known: bool
) -> Finding:
    """Whether labels match the class names.

    Args:
        ids, measured: one per panorama.
        names: class names.
        is_geometry_known: whether depth is correct, so that floors and ceilings can be found.
    """
    num = len(measured)
    labels = np.sum([one.labels for one in measured], axis=0)
    finding = evaluate_counts(labels, sum(one.pixels for one in measured), names)
    if not labels.any():
        return finding
    if not any(labels[names.index(name)] for name in STRUCTURE):
        finding.problems.append("labels lack floor, ceiling and wall")
    fractions = [one.labels.sum() / one.pixels for one in measured]
    finding.add_outliers(
        [
            f"{name}: {fraction:.1%} of its pixels have a label"
            for name, fraction in zip(ids, fractions, strict=True)
            if fraction < MIN_LABELED_OF_PANORAMA
        ],
        num,
        "hardly any label",
        TOLERATED_OUTLIERS,
    )
    if not is_geometry_known:
        finding.rows.append("not compared with floors and ceilings, as the depth is wrong")
        return finding
    _evaluate_directions(finding, measured, names)
    wrong = [f"{name}: {why}" for name, one in zip(ids, measured, strict=True) if (why := _contradiction(one, names))]
    finding.add_outliers(wrong, num, "labels that contradict the geometry", TOLERATED_OUTLIERS)
    return finding


def evaluate_counts(labels: np.ndarray, num_pixels: int, names: Sequence[str], noun: str = "panoramas") -> Finding:
    """The fraction of labeled pixels, and whether nearly all of them have the same class.

    Args:
        labels: (classes,) pixels of each class.
        num_pixels: number of all pixels.
        names: class names.
        noun: see `Finding`.
    """
    labeled = labels.sum() / num_pixels
    finding = Finding("labels", [f"known in {labeled:.1%} of the pixels"], noun=noun)
    if not labels.any():
        finding.problems.append("no pixel has a label")
        return finding
    if labeled < MIN_LABELED:
        finding.problems.append(f"only {labeled:.1%} of the pixels have a label")
    largest = int(labels.argmax())
    if labels[largest] > MAX_OF_CLASS * labels.sum():
        finding.problems.append(f"{labels[largest] / labels.sum():.1%} of the labels are {names[largest]}")
    return finding


def _evaluate_directions(finding: Finding, measured: Sequence[LabelMeasurement], names: Sequence[str]) -> None:
    """Evaluate floors, ceilings and walls of all panoramas together."""
    right = np.sum([one.right for one in measured], axis=0)
    total = np.sum([one.with_direction for one in measured], axis=0)
    on_surface = np.sum([one.on_surface for one in measured], axis=0)
    parts = []
    for name, num_right, num in zip(STRUCTURE, right, total, strict=True):
        if num >= _MIN_PIXELS:
            parts.append(f"{num_right / num:.1%} of {name}")
            if num_right < MIN_RIGHT * num:
                finding.problems.append(f"wrong labels: only {parts[-1]} is where it belongs and faces like a {name}")
    for name, pixels in zip(STRUCTURE, on_surface, strict=False):
        most = int(pixels.argmax())
        if pixels.sum() >= _MIN_PIXELS and names[most] != name:
            finding.problems.append(f"wrong labels: surfaces that should be {name} are mostly labeled {names[most]}")
    if parts:
        finding.rows.append(f"in the right place and direction: {', '.join(parts)}")


def _contradiction(one: LabelMeasurement, names: Sequence[str]) -> str:
    """The contradiction between the labels of a panorama and its geometry, in words; empty without one."""
    for name, right, num in zip(STRUCTURE, one.right, one.with_direction, strict=True):
        if num >= _MIN_PIXELS and right < MIN_RIGHT_OF_PANORAMA * num:
            return f"only {right / num:.1%} of its {name} is where it belongs and faces like a {name}"
    for name, pixels in zip(STRUCTURE, one.on_surface, strict=False):
        if pixels.sum() >= _MIN_PIXELS and pixels[names.index(name)] < MIN_FOUND_OF_PANORAMA * pixels.sum():
            return f"surfaces that should be {name} are mostly labeled {names[int(pixels.argmax())]}"
    return ""
