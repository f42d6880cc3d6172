"""Write synthetic rooms in the format of a dataset on disk: paths, encodings and label ids.

    python -m tools.make_synthetic_dataset --layout MP3D --num 4 --out ./data/MP3D

N rooms for training and N for testing. Every fourth training room (at least the last) belongs to the split "val"; with
Struc3D and Folder, whose "val" is no part of the training split, as many more rooms are written; with the copies of
NYU v2 (NYUv2-M and so on, see docs/nyuv2.md), VOC, COCO and NYU_BTS "val" is chosen on reading. VOC and COCO hold
colored shapes instead of rooms. The same images come out every time; --seed gives others. `synthetic_dataset.json` in
the folder describes its content.
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
    parser.add_argument("--layout", required=True, choices=layouts, help="dataset whose layout to write")
    parser.add_argument("--num", required=True, type=positive, metavar="N", help="rooms for training, and for testing")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--height",
        type=positive,
        metavar="PIXELS",
        help="of the panoramas (default: 512), of the images of NYU's camera before any crop (default: 480), or of "
        "those of VOC and COCO (default: 375)",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the rooms")
    parser.add_argument(
        "--num_workers", type=count, metavar="N", help="worker processes; one per core if not given, 0 for few rooms"
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
