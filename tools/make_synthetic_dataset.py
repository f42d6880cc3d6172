"""Write synthetic rooms in the format of a dataset on disk: paths, encodings and label ids.

    python -m tools.make_synthetic_dataset --layout MP3D --num 4 --out ./data/MP3D

N rooms for training and N for testing. Every fourth training room (at least the last) belongs to the split "val"; with
Struc3D, whose "val" is not part of the training split, as many additional rooms are written. The rooms are
deterministic and depend on --seed. `synthetic_dataset.json` in the folder describes its content.
"""

import argparse
import os
from pathlib import Path

from datasets.preparation.synthetic_layouts import LAYOUTS, write_dataset
from options.parser import Parser, count, positive, seed
from utils.errors import exit_on_user_error


def main() -> None:
    """Run the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--layout", required=True, choices=tuple(LAYOUTS), help="dataset format to write")
    parser.add_argument("--num", required=True, type=positive, metavar="N", help="rooms for training, and for testing")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--height", type=positive, default=512, metavar="PIXELS", help="height of the panoramas")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the rooms")
    parser.add_argument("--num_workers", type=count, default=os.cpu_count(), metavar="N", help="worker processes")
    options: argparse.Namespace = parser.parse_args()
    with exit_on_user_error():
        write_dataset(options.layout, options.num, options.out, options.height, options.seed, options.num_workers)


if __name__ == "__main__":
    main()
