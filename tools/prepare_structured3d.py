"""Prepare Structured3D for --dataset Struc3D: extract the required panoramas from the published archives.

    python -m tools.prepare_structured3d --raw ./downloads --out ./data/Struc3D

* **Raw folder**: the archives ``Structured3D_panorama_*.zip``. Only the images of furnished rooms in raw light are
  extracted, unchanged.
* **Damaged members**: some archives are known to have members with wrong checksums. A room with a damaged or missing
  image is omitted completely and reported.
* **Invalid scenes**: six officially invalid scenes are omitted.

Rooms whose images exist are skipped, so an interrupted run can be resumed. The last lines compare the numbers of rooms
with those of the complete dataset.
"""

import argparse
import os
import sys
from pathlib import Path

from datasets.preparation.structured3d_tree import Summary, prepare
from datasets.structured3d import Structured3D
from options.parser import Parser, count
from utils.errors import exit_on_user_error
from utils.tasks import TASK_NAMES, TASK_VALUES, join_tasks, parse_tasks


def report(summary: Summary) -> list[str]:
    """Lines of the summary: rooms written and omitted, and the number of rooms in each split."""
    lines = [
        f"{summary.written} rooms written, {summary.skipped} skipped (exist already), "
        f"{len(summary.left_out)} omitted, {summary.invalid} in invalid scenes"
    ]
    lines += [f"omitted: {room.folder}: {room.problem}" for room in summary.left_out]
    lines += [f"archive not used: {problem}" for problem in summary.bad_archives]
    for split, found in summary.counts.items():
        expected = Structured3D.counts[split]
        lines.append(f"{split}: {found} of {expected} rooms" + (", complete" if found == expected else ""))
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1 if rooms had to be omitted."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--raw", required=True, type=Path, metavar="DIR", help="folder with the published archives")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--only",
        default=join_tasks(TASK_NAMES),
        choices=TASK_VALUES,
        help="tasks whose maps are extracted besides RGB",
    )
    parser.add_argument("--num_workers", type=count, default=os.cpu_count(), metavar="N", help="worker processes")
    options: argparse.Namespace = parser.parse_args(arguments)
    with exit_on_user_error():
        summary = prepare(options.raw, options.out, parse_tasks(options.only), options.num_workers)
    for line in report(summary):
        print(line)
    return 1 if summary.left_out or summary.bad_archives else 0


if __name__ == "__main__":
    sys.exit(main())
