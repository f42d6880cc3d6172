"""Prepare NYU v2: convert nyu_depth_v2_labeled.mat to a tree with 40 classes that --dataset NYUv2 reads fast.

    python -m tools.prepare_nyuv2 --raw ./nyu_raw --out ./data/NYUD_MT

* **Raw folder**: ``nyu_depth_v2_labeled.mat``, ``splits.mat`` and ``classMapping40.mat``, and normals of Eigen, Ladicky
  or GeoNet (see `datasets.nyuv2_owners`). Without published normals they are estimated from depth; results note that
  they are not an established ground truth.
* **Prepared tree**: layout B (see `datasets.nyuv2_layouts`), the 425x560 window of each image, with the scenes of the
  owners' file, so that "val" can be held out by scene.
* The parquet files of the hub become a tree with 13 classes, layout M.

Images whose files exist are skipped, so an interrupted run can be resumed.
"""

import argparse
import os
import sys
from pathlib import Path

from datasets.nyuv2_owners import NORMAL_SOURCES
from datasets.preparation.nyuv2_tree import Summary, prepare
from datasets.preparation.pinhole_normals import NORMAL_AXES
from options.parser import Parser, count
from utils.errors import exit_on_user_error


def report(summary: Summary, out: Path) -> None:
    """Print the summary."""
    counts = " and ".join(f"{number} {part}" for part, number in summary.counts.items())
    total = sum(summary.counts.values())
    skipped = total - summary.written - len(summary.problems)
    print(f"{summary.written} images written to {out}, {skipped} skipped (exist already); {counts}")
    print(f"source: {summary.note['source']}")
    print(f"normals: {summary.note['normals']}, stored along {summary.note['stored_normal_axes']}")
    if summary.problems:
        print(f"{len(summary.problems)} images cannot be used: repair them and run this again", file=sys.stderr)
    for problem in summary.problems:
        print(f"not used: {problem}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1 if images could not be used."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument(
        "--raw", required=True, type=Path, metavar="DIR", help="folder with the owners' or the hub's files"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--normals", choices=NORMAL_SOURCES, help="source of the normals (default: the one in --raw)")
    parser.add_argument(
        "--normal_axes",
        choices=tuple(NORMAL_AXES),
        help="axes of the stored normals (default: detected by comparison with depth)",
    )
    parser.add_argument("--raw_depth", action="store_true", help="raw depth, with holes, instead of filled depth")
    parser.add_argument("--num_workers", type=count, default=os.cpu_count(), metavar="N", help="worker processes")
    options: argparse.Namespace = parser.parse_args(arguments)
    with exit_on_user_error():
        summary = prepare(
            options.raw, options.out, options.normals, options.normal_axes, options.raw_depth, options.num_workers
        )
    report(summary, options.out)
    return 1 if summary.problems else 0


if __name__ == "__main__":
    sys.exit(main())
