"""All measurements of one panorama, and the evaluation of all panoramas."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datasets.checks.alignment import (
    Alignment,
    depth_edges,
    evaluate_alignments,
    label_edges,
    measure_alignment,
    normal_edges,
    rgb_edges,
)
from datasets.checks.camera_height import FloorMeasurement, are_flat, evaluate_floors, measure_floor
from datasets.checks.depth_values import DepthValues, evaluate_depth, measure_depth
from datasets.checks.finding import Finding
from datasets.checks.heading import evaluate_heading, measure_heading_offset
from datasets.checks.label_directions import LabelMeasurement, evaluate_labels, measure_labels
from datasets.checks.normal_frames import NormalMeasurement, evaluate_normals, measure_normals
from datasets.checks.surfaces import find_surfaces
from datasets.panorama import Panorama, pack, unpack
from datasets.preparation.normals_from_depth import normals_from_depth

# Rows of the maps for measuring geometry and edges. Differences over two pixels, 2.8 degrees, are large compared with
# noise and quantization of depth, and small compared with furniture; 256 rows give the same results.
MEASURED_HEIGHT = 128
_WORDS = {"depth": "depth", "normal": "normals", "segmentation": "labels"}  # the maps of the tasks, in messages
_ALIGNMENT_OF = {"rgb": "rgb_alignment", "normal": "normal_alignment", "segmentation": "label_alignment"}


@dataclass(frozen=True)
class Measurement:
    """Measurements of one panorama; None for maps that are missing or that no task needs.

    Attributes:
        id: see `Panorama`.
        size: such as "1024x512".
        reference: first task with a map; the edges of the other maps are compared with those of its map.
        heading_offset: see `measure_heading_offset`.
        rgb_alignment, normal_alignment, label_alignment: alignment with the reference.
    """

    id: str
    size: str
    reference: str | None
    depth: DepthValues | None = None
    floor: FloorMeasurement | None = None
    normals: NormalMeasurement | None = None
    labels: LabelMeasurement | None = None
    heading_offset: float | None = None
    rgb_alignment: Alignment | None = None
    normal_alignment: Alignment | None = None
    label_alignment: Alignment | None = None


def measure(panorama: Panorama, tasks: Sequence[str], class_names: Sequence[str]) -> Measurement:
    """Measure the maps of a panorama that belong to these tasks (see `utils.tasks.TASK_NAMES`)."""
    rows, columns = panorama.rgb.shape[:2]
    height = min(rows, MEASURED_HEIGHT)  # enlarging would cause steps in depth
    small = unpack(pack(panorama.resized(height, 2 * height), index=0))
    measured, edges = {}, {}
    depth = normal = implied = None
    if "depth" in tasks:
        depth = small["depth"][0].numpy()
        implied = normals_from_depth(depth)
        measured["depth"] = measure_depth(*_depth_codes(panorama))
        edges["depth"] = depth_edges(depth)
        measured["heading_offset"] = measure_heading_offset(panorama)
    if "normal" in tasks:
        normal = small["normal"].movedim(0, -1).numpy()
        measured["normals"] = measure_normals(normal, implied)
        edges["normal"] = normal_edges(normal)
    direction = implied if depth is not None else normal if panorama.normal_frame == "camera" else None
    surfaces = find_surfaces((height, 2 * height), direction, depth)
    if depth is not None:
        measured["floor"] = measure_floor(surfaces, implied, panorama.depth_scale)
    if "segmentation" in tasks:
        labels = small["semantic"].numpy()
        measured["labels"] = measure_labels(panorama.semantic, labels, class_names, direction, surfaces)
        edges["segmentation"] = label_edges(labels)
    reference = next(iter(edges), None)
    if reference:
        edges["rgb"] = rgb_edges(small["rgb"].movedim(0, -1).numpy())
    for name, map_edges in edges.items():
        if name != reference:
            measured[_ALIGNMENT_OF[name]] = measure_alignment(map_edges, edges[reference])
    return Measurement(panorama.id, f"{columns}x{rows}", reference, **measured)


def _depth_codes(panorama: Panorama) -> tuple[np.ndarray, float]:
    """Depth (H, W) uint16 (in millimeters if it is stored as floats), and meters per unit."""
    if panorama.depth.dtype == np.uint16:
        return panorama.depth, panorama.depth_scale
    millimeters = panorama.depth * np.float32(1000 * panorama.depth_scale)
    return np.rint(millimeters).clip(0, np.iinfo(np.uint16).max).astype(np.uint16), 1 / 1000


def evaluate(
    measured: Sequence[Measurement],
    tasks: Sequence[str],
    class_names: Sequence[str],
    normal_frame: str,
    relative_to_largest: bool,
    in_meters: bool = True,
) -> list[Finding]:
    """Evaluate the measurements of all panoramas, one finding per check.

    Args:
        tasks: tasks of the dataset.
        normal_frame: "camera" or "world", see `Panorama`.
        relative_to_largest, in_meters: see `evaluate_depth`.
    """
    findings = []
    is_geometry_known = True
    with_depth, with_normals, with_labels = (
        [one for one in measured if getattr(one, kind) is not None] for kind in ("depth", "normals", "labels")
    )
    for task, group in (("depth", with_depth), ("normal", with_normals), ("segmentation", with_labels)):
        if task in tasks and not group:
            findings.append(Finding(_WORDS[task], [], [f"no panorama has {_WORDS[task]}"]))
    if with_depth:
        ids = [one.id for one in with_depth]
        floors = [one.floor for one in with_depth]
        is_geometry_known = are_flat(floors)
        findings.append(
            evaluate_depth(ids, [one.depth for one in with_depth], relative_to_largest, in_meters=in_meters)
        )
        findings.append(evaluate_floors(ids, floors, in_meters))
    for has_depth in (True, False):
        group = [one for one in with_normals if (one.depth is not None) == has_depth]
        if group:
            ids, normals = [one.id for one in group], [one.normals for one in group]
            findings.append(evaluate_normals(ids, normals, normal_frame, has_depth))
    if with_labels:
        ids, labels = [one.id for one in with_labels], [one.labels for one in with_labels]
        findings.append(evaluate_labels(ids, labels, class_names, is_geometry_known))
    findings += _evaluate_edges(measured)
    if with_depth and not any(finding.problems for finding in findings if finding.heading == "edges"):
        heading = evaluate_heading([one.heading_offset for one in with_depth], [one.size for one in with_depth])
        findings += [heading] if heading else []
    return findings


def _evaluate_edges(measured: Sequence[Measurement]) -> list[Finding]:
    """One finding for each pair of maps. Maps without valid pixels are omitted: other checks report them."""
    findings = []
    for reference, words in _WORDS.items():
        group = [one for one in measured if one.reference == reference]
        with_normals = [one for one in group if one.normals and one.normals.known]
        with_labels = [one for one in group if one.labels and one.labels.labels.any()]
        for name, what, compared in (
            ("rgb", "RGB", group),
            ("normal", "normals", with_normals),
            ("segmentation", "labels", with_labels),
        ):
            if compared and name != reference:
                alignments = [getattr(one, _ALIGNMENT_OF[name]) for one in compared]
                findings.append(evaluate_alignments(what, words, [one.id for one in compared], alignments))
    return findings


def class_pixels(measured: Sequence[Measurement]) -> np.ndarray:
    """(classes,) pixels of each class in all panoramas."""
    return np.sum([one.labels.labels for one in measured if one.labels], axis=0)
