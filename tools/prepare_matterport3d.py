"""Prepare Matterport3D for --dataset MP3D: make panoramas of RGB, depth, normals and labels from the published files.

    python -m tools.prepare_matterport3d --raw ./v1/scans --out ./data/MP3D

* **Raw folder**: a folder per scan with these published folders, zipped or unpacked: ``matterport_skybox_images``,
  ``undistorted_color_images``, ``undistorted_depth_images``, ``undistorted_normal_images``,
  ``undistorted_camera_parameters``, ``house_segmentations``; and ``category_mapping.tsv`` from ``metadata/`` of the
  code repository niessner/Matterport.
* **Prepared tree**: see `datasets.matterport3d`. A panorama is centered on skybox face 2.
* **RGB** is made of the six skybox faces, averaged by area.
* **Depth** is the distance along the ray from the mean of the views' centers: the published z coordinate divided by the
  cosine, with the intrinsics and poses of the camera files. Where views overlap, the one in which a point is closest
  to the optical axis wins. Beyond about 66 degrees of latitude there is none.
* **Heading**: the skybox has no pose. Its heading is computed from the poses of the views, then refined by comparing
  ``undistorted_color_images`` of the level camera with the skybox; without these images it is not verified.
* **Normals** are rotated from each view to the panorama's axes. The axes of the published normals are not documented:
  among all 48 orders and signs, those are chosen with which most normals of a viewpoint agree with its depth. The
  summary lists the chosen axes, which should be the same for all viewpoints.
* **Labels** come from intersecting the panorama's rays with the labeled mesh of the scan, so the poles have labels too.
  ``--depth_from mesh`` takes depth and normals from the same rays.

Viewpoints whose images exist are skipped, so an interrupted run can be resumed. Missing views are skipped and reported,
as are images that cannot be made. ``<scan>/preparation`` in the prepared tree holds the measurements of each viewpoint.
"""

import argparse
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from datasets.preparation.matterport_tree import Settings, Summary, prepare
from options.parser import Parser, count, positive
from utils.errors import exit_on_user_error
from utils.tasks import TASK_NAMES, TASK_VALUES, join_tasks, parse_tasks

CATEGORY_MAPPING = "category_mapping.tsv"
_MAX_CAUSES = 20  # of each kind in the summary
_VIEWPOINT = re.compile(r"[0-9a-f]{32}")


def report(summary: Summary, seconds: float) -> list[str]:
    """Lines of the summary: numbers of viewpoints, measurements, and causes of missing images."""
    outcomes = summary.outcomes
    complete = [one for one in outcomes if not one.problems]
    lines = [
        f"{len(complete)} viewpoints prepared, {summary.skipped} skipped (exist already), "
        f"{len(outcomes) - len(complete)} incomplete"
    ]
    if outcomes:
        lines.append(f"{60 * len(outcomes) / max(seconds, 1e-9):.1f} viewpoints per minute")
    headings = [one.measured.heading for one in outcomes if one.measured.heading]
    if headings:
        yaws, residuals, pitches = ([getattr(one, name) for one in headings] for name in ("yaw", "residual", "pitch"))
        lines.append(
            f"heading: {len(headings)} verified, corrected by {np.median(yaws):+.2f} degrees (median; "
            f"{min(yaws):+.2f} to {max(yaws):+.2f}), residual {np.median(residuals):.3f} degrees (median; up to "
            f"{max(residuals):.3f}); views {np.median(pitches):+.2f} degrees above the skybox"
        )
    differences = [one.measured.disagreement for one in outcomes if np.isfinite(one.measured.disagreement)]
    if differences:
        lines.append(
            f"depth: overlapping views differ by {np.median(differences):.2%} (median; up to {max(differences):.2%})"
        )
    axes = Counter(one.measured.axes for one in outcomes if one.measured.axes)
    lines += [f"normals: {num} viewpoints with right, down, forward = {words}" for words, num in axes.most_common()]
    if summary.without_poses:
        lines.append(f"skyboxes published without camera poses, skipped: {', '.join(summary.without_poses)}")
    lines += causes("warning", (cause for one in outcomes for cause in one.measured.lacking))
    lines += causes("not made", (problem for one in outcomes for problem in one.problems))
    return lines + causes("scan not used", summary.bad_scans)


def causes(heading: str, problems: Iterable[str]) -> list[str]:
    """Lines with the number of occurrences of each cause, most frequent first; a cause that occurs once in full."""
    problems = list(problems)
    counts = Counter(_VIEWPOINT.sub("*", problem) for problem in problems)
    examples = {_VIEWPOINT.sub("*", problem): problem for problem in problems}
    lines = [
        f"{heading}: {num} times {cause}" if num > 1 else f"{heading}: {examples[cause]}"
        for cause, num in counts.most_common(_MAX_CAUSES)
    ]
    more = len(counts) - _MAX_CAUSES
    return lines + ([f"{heading}: {more} more causes"] if more > 0 else [])


def shard(text: str) -> tuple[int, int]:
    """Type of an option: part I of N parts, such as 2/8."""
    number, _, total = text.partition("/")
    part = int(number), int(total)
    if not 1 <= part[0] <= part[1]:
        raise argparse.ArgumentTypeError(f"{text} is not I/N with I from 1 to N")
    return part


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--raw", required=True, type=Path, metavar="DIR", help="published data, one folder per scan")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--height", type=positive, default=512, metavar="PIXELS", help="height of the panoramas")
    parser.add_argument("--scans", nargs="+", default=(), metavar="ID", help="only these scans (default: all in --raw)")
    parser.add_argument(
        "--only",
        default=join_tasks(TASK_NAMES),
        choices=TASK_VALUES,
        help="tasks whose maps are made besides RGB; files that only other tasks need are not read",
    )
    parser.add_argument(
        "--depth_from",
        default="views",
        choices=("views", "mesh"),
        help="source of depth and normals: published views (empty poles), or the mesh (complete, but less detailed)",
    )
    parser.add_argument(
        "--category_mapping",
        type=Path,
        metavar="FILE",
        help=f"published category mapping (default: RAW/{CATEGORY_MAPPING})",
    )
    parser.add_argument(
        "--shard", type=shard, default=(1, 1), metavar="I/N", help="prepare part I of N, for several machines"
    )
    parser.add_argument("--num_workers", type=count, default=os.cpu_count(), metavar="N", help="worker processes")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1 if anything could not be made."""
    options = parse(arguments)
    settings = Settings(
        raw=options.raw,
        out=options.out,
        height=options.height,
        tasks=parse_tasks(options.only),
        depth_from=options.depth_from,
        category_mapping=options.category_mapping or options.raw / CATEGORY_MAPPING,
    )
    start = time.monotonic()
    with exit_on_user_error():
        summary = prepare(settings, options.scans, options.shard, options.num_workers)
    for line in report(summary, time.monotonic() - start):
        print(line)
    return 1 if summary.bad_scans or any(one.problems for one in summary.outcomes) else 0


if __name__ == "__main__":
    # Inherited by the worker processes, one per core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
