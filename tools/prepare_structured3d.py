"""Prepare Structured3D for --dataset Struc3D: take the panoramas it reads out of the published archives.

    python -m tools.prepare_structured3d --raw ./downloads --out ./data/Struc3D

* **Raw folder**: the archives ``Structured3D_panorama_*.zip``. Only the images of the furnished rooms in raw light are
  taken out, as they are.
* **Damaged members**: some archives are known to hold members with wrong checksums. A room with such an image, or
  without one of them, is left out completely and named.
* **Invalid scenes**: six scenes that are officially invalid are left out.

Rooms whose images exist are skipped, so that an interrupted run can be resumed. The last lines compare the numbers of
rooms with those of the complete dataset.
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
    """Lines on what was done and left out, and how many rooms there are of how many."""
    lines = [
        f"{summary.written} rooms written, {summary.skipped} skipped (there already), "
        f"{len(summary.left_out)} left out, {summary.invalid} in invalid scenes"
    ]
    lines += [f"left out: {room.folder}: {room.problem}" for room in summary.left_out]
    lines += [f"archive not used: {problem}" for problem in summary.bad_archives]
    for split, found in summary.counts.items():
        expected = Structured3D.counts[split]
        lines.append(f"{split}: {found} of {expected} rooms" + (", complete" if found == expected else ""))
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; exit code 1 when rooms had to be left out."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--raw", required=True, type=Path, metavar="DIR", help="folder of the published archives")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--only",
        default=join_tasks(TASK_NAMES),
        choices=TASK_VALUES,
        help="tasks whose maps are taken out, beside RGB",
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
