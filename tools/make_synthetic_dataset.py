"""Write synthetic rooms in the format of a dataset: paths, encodings and label ids.

    python -m tools.make_synthetic_dataset --layout MP3D --num 4 --out ./data/MP3D

Writes N training rooms and N test rooms. The split "val" is every fourth training room (at least the last); for Struc3D
and Folder, whose "val" is separate from the training split, it is the same number of additional rooms; for the copies
of NYU v2 (NYUv2-M and so on, see docs/nyuv2.md), VOC, COCO and NYU_BTS it is chosen when the dataset is read. VOC and
COCO have colored shapes instead of rooms. Images depend only on the options and --seed. `synthetic_dataset.json`
describes the content of the folder.
"""

import argparse
from pathlib import Path

from datasets.preparation.detection_layouts import DETECTION_WRITERS, write_detection_dataset
from datasets.preparation.nyu_layouts import NYU_WRITERS, write_nyu_dataset
from datasets.preparation.synthetic_layouts import LAYOUTS, write_dataset
from options.parser import Parser, count, positive, seed
from utils.errors import exit_on_user_error


def main() -> None:
    """Run the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    layouts = (*LAYOUTS, *NYU_WRITERS, *DETECTION_WRITERS)
    parser.add_argument("--layout", required=True, choices=layouts, help="format to write")
    parser.add_argument("--num", required=True, type=positive, metavar="N", help="number of training and of test rooms")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--height",
        type=positive,
        metavar="PIXELS",
        help="image height (default: 512 for panoramas, 480 for NYU's camera before any crop, 375 for VOC and COCO)",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="random seed of the rooms")
    parser.add_argument(
        "--num_workers", type=count, metavar="N", help="worker processes (default: one per core, 0 for few rooms)"
    )
    options: argparse.Namespace = parser.parse_args()
    write, height = write_dataset, 512
    if options.layout in NYU_WRITERS:
        write, height = write_nyu_dataset, 480
    elif options.layout in DETECTION_WRITERS:
        write, height = write_detection_dataset, 480 if options.layout == "NYU_BTS" else 375
    with exit_on_user_error():
        write(options.layout, options.num, options.out, options.height or height, options.seed, options.num_workers)


if __name__ == "__main__":
    main()
