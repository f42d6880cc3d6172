"""Checks of perspective images: depth, axes of the normals, directions of labels, edges.

Unlike a panorama, such an image has no known vertical, but as cameras are held roughly upright, floors face up. The
bounds come from 60 synthetic images with and without known faults; no real ones were available.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.checks.alignment import FLIPS, depth_edges, label_edges, normal_edges, rgb_edges
from datasets.checks.depth_values import DepthValues, evaluate_depth, measure_meters
from datasets.checks.finding import TOLERATED_OUTLIERS, Finding
from datasets.checks.label_directions import MIN_RIGHT, STRUCTURE, evaluate_counts
from datasets.perspective import PerspectiveImage
from datasets.preparation.axes import ALL_AXES
from datasets.preparation.pinhole_normals import (
    NEAR_ANGLE,
    NORMAL_AXES,
    AxesMeasurement,
    add_measurements,
    find_axes,
    implied_normals,
    measure_axes,
)
from utils.errors import UserError
from utils.pinhole import Pinhole

_LEANING = 0.5  # cosine to the image's vertical: 0.87 for a floor if the camera is pitched down by 30 degrees
_MIN_PIXELS = 50  # of a class in all images, or of an image
_MIN_KNOWN = 0.3  # fraction of the normals
_BLUR = 0.7  # pixels
_MIN_CORRELATION, _MAX_EXCESS = 0.1, 0.03  # correlation of unchanged edges, and gain in correlation by a flip
_MAX_GAIN = 0.3  # fraction of an image's normals that agree along other axes but not along those of the dataset


@dataclass(frozen=True)
class ImageMeasurement:
    """Measurements of one image; None for maps that no task needs.

    Attributes:
        id, size: such as "0001" and "560x425".
        pixels: number of pixels.
        depth: depth in millimeters.
        known_normals: fraction of the pixels with a normal.
        axes: comparison of the stored normals with depth.
        labels: (classes,) pixels of each class.
        right, directed: (3,) pixels of each class of `STRUCTURE` with the right direction, and with a known one.
        edges: correlations (4,) of the edges of "RGB", "normals" and "labels" with those of depth, after all `FLIPS`.
    """

    id: str
    size: str
    pixels: int
    depth: DepthValues | None = None
    known_normals: float | None = None
    axes: AxesMeasurement | None = None
    labels: np.ndarray | None = None
    right: np.ndarray | None = None
    directed: np.ndarray | None = None
    edges: dict[str, np.ndarray] | None = None


def measure_image(
    image: PerspectiveImage, tasks: Sequence[str], class_names: Sequence[str], camera: Pinhole
) -> ImageMeasurement:
    """Measure the maps of an image that belong to these tasks; its normals must be along the stored axes."""
    rows, columns = image.size
    measured: dict = {}
    implied = implied_normals(image.depth, camera) if "depth" in tasks else None
    if implied is not None:
        measured["depth"] = measure_meters(image.depth)
    if "normal" in tasks:
        measured["known_normals"] = float(image.normal.any(axis=-1).mean())
        if implied is not None:
            measured["axes"] = measure_axes(image.normal, implied)
    if "segmentation" in tasks:
        measured["labels"] = np.bincount(image.semantic[image.semantic >= 0], minlength=len(class_names))
        if implied is not None:
            measured["right"], measured["directed"] = _directions(image.semantic, implied, class_names)
    if implied is not None:
        measured["edges"] = _edges(image.resized(*implied.shape[:2]), tasks)
    return ImageMeasurement(image.id, f"{columns}x{rows}", rows * columns, **measured)


def evaluate_images(
    measured: Sequence[ImageMeasurement], class_names: Sequence[str], normal_axes: str | None, sources: str
) -> list[Finding]:
    """Evaluate the measurements of all images, one finding per check.

    Args:
        class_names: names of the labels.
        normal_axes: expected axes of the normals, a key of `NORMAL_AXES`; None: any.
        sources: source of the normals, in words.
    """
    findings = []
    with_depth = [one for one in measured if one.depth is not None]
    with_normals = [one for one in measured if one.known_normals is not None]
    with_labels = [one for one in measured if one.labels is not None]
    if with_depth:
        ids = [one.id for one in with_depth]
        findings.append(
            evaluate_depth(ids, [one.depth for one in with_depth], relative_to_largest=False, noun="images")
        )
    if with_normals:
        findings.append(_evaluate_normals(with_normals, normal_axes, sources))
    if with_labels:
        findings.append(_evaluate_labels(with_labels, class_names))
    return findings + _evaluate_edges(with_depth)


def stored_axes(measured: Sequence[ImageMeasurement]) -> str | None:
    """The axes of the stored normals, a key of `NORMAL_AXES`; None if they cannot be determined."""
    compared = [one.axes for one in measured if one.axes is not None]
    try:
        return find_axes(add_measurements(compared))[0] if compared else None
    except UserError:
        return None


def image_class_pixels(measured: Sequence[ImageMeasurement]) -> np.ndarray:
    """(classes,) pixels of each class in all images."""
    return np.sum([one.labels for one in measured if one.labels is not None], axis=0)


def _evaluate_normals(measured: Sequence[ImageMeasurement], given: str | None, sources: str) -> Finding:
    known = float(np.mean([one.known_normals for one in measured]))
    finding = Finding("normals", [f"known in {known:.1%} of the pixels; source: {sources}"], noun="images")
    if known < _MIN_KNOWN:
        finding.problems.append(f"only {known:.1%} of the normals are known")
    compared = [one for one in measured if one.axes is not None]
    if not compared:
        finding.rows.append("their axes can only be compared with depth, which is not available")
        return finding
    total = add_measurements([one.axes for one in compared])
    try:
        axes, near = find_axes(total)
    except UserError as error:
        finding.rows.append(str(error))
        finding.problems.append("normals disagree with depth")
        return finding
    finding.rows.append(f"{near:.1%} differ from depth by less than {NEAR_ANGLE} degrees if read along {axes}")
    if given and given != axes:
        finding.rows.append(f"drop --normal_axes {given}, or pass --normal_axes {axes}")
        finding.problems.append(f"normals are not along {given}")
    index = _axes_index(axes)
    outliers = []
    for one in compared:
        fractions = one.axes.near / max(one.axes.pixels, 1)
        if one.axes.pixels >= _MIN_PIXELS and fractions.max() > fractions[index] + _MAX_GAIN:
            outliers.append(
                f"{one.id}: {fractions[index]:.1%} of its normals agree, {fractions.max():.1%} along other axes"
            )
    finding.add_outliers(outliers, len(compared), "normals along other axes", TOLERATED_OUTLIERS)
    return finding


def _evaluate_labels(measured: Sequence[ImageMeasurement], names: Sequence[str]) -> Finding:
    labels = image_class_pixels(measured)
    finding = evaluate_counts(labels, sum(one.pixels for one in measured), names, noun="images")
    if not labels.any():
        return finding
    compared = [one for one in measured if one.directed is not None]
    parts = []
    for number, name in enumerate(STRUCTURE):
        right, directed = (sum(int(getattr(one, kind)[number]) for one in compared) for kind in ("right", "directed"))
        if directed >= _MIN_PIXELS:
            parts.append(f"{right / directed:.1%} of {name}")
            if right < MIN_RIGHT * directed:
                finding.problems.append(f"wrong labels: only {parts[-1]} faces as a {name} does")
    if parts:
        finding.rows.append(f"in the right direction: {', '.join(parts)}")
    return finding


def _evaluate_edges(measured: Sequence[ImageMeasurement]) -> list[Finding]:
    findings = []
    for what in ("RGB", "normals", "labels"):
        known = [one.edges[what] for one in measured if what in one.edges]
        if not known:
            continue
        mean = np.mean(known, axis=0)
        finding = Finding("edges", [f"correlation of {what} and depth: {mean[0]:.2f}"], noun="images")
        best = 1 + int(mean[1:].argmax())
        if mean[best] > mean[0] + _MAX_EXCESS:
            finding.rows.append(f"they would agree better ({mean[best]:.2f}) if {what} were {FLIPS[best]}")
            finding.problems.append(f"{what} and depth do not match")
        elif mean[0] < _MIN_CORRELATION:
            finding.problems.append(f"{what} and depth do not show the same view")
        findings.append(finding)
    return findings


def _directions(labels: np.ndarray, implied: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of each class of `STRUCTURE` with the right direction, and with a known one, (3,) each."""
    height, width = implied.shape[:2]
    small = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    y = implied[..., 1]
    facing = y < -_LEANING, y > _LEANING, np.abs(y) < np.cos(np.radians(45))
    masks = [(small == names.index(name)) & implied.any(axis=-1) for name in STRUCTURE]
    right = [np.count_nonzero(mask & faces) for mask, faces in zip(masks, facing, strict=True)]
    return np.array(right), np.array([np.count_nonzero(mask) for mask in masks])


def _edges(image: PerspectiveImage, tasks: Sequence[str]) -> dict[str, np.ndarray]:
    """Correlations (4,) of the edges of each map that has any with those of depth, after all `FLIPS`."""
    edges = {"RGB": rgb_edges(image.rgb.astype(np.float32) / 255)}
    if "normal" in tasks:
        edges["normals"] = normal_edges(image.normal)
    if "segmentation" in tasks:
        edges["labels"] = label_edges(image.semantic)
    reference = _normalized(depth_edges(image.depth))
    if reference is None:
        return {}
    correlations = {}
    for what, map_edges in edges.items():
        normalized = _normalized(map_edges)
        if normalized is not None:
            flipped = normalized, normalized[:, ::-1], normalized[::-1], normalized[::-1, ::-1]
            correlations[what] = np.array([(one * reference).sum() for one in flipped])
    return correlations


def _normalized(edges: np.ndarray) -> np.ndarray | None:
    """Edges (H, W), NaN = unknown, with zero mean and a sum of squares of 1; None: no edges."""
    edges = edges[1:-1, 1:-1]  # the outermost pixels were compared with the opposite border
    known = np.isfinite(edges)
    if not known.any():
        return None
    centered = np.where(known, edges - np.nanmean(edges), 0).astype(np.float32)
    centered = cv2.GaussianBlur(centered, (0, 0), _BLUR)
    power = np.sqrt((centered**2).sum())
    return centered / power if power > 0 else None


def _axes_index(axes: str) -> int:
    """Index into `ALL_AXES` of a key of `NORMAL_AXES`."""
    return next(i for i, matrix in enumerate(ALL_AXES) if np.array_equal(matrix, np.diag(NORMAL_AXES[axes])))
