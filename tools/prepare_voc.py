"""Write the lists and masks that --dataset VOC needs in addition to the official ones.

    python -m tools.prepare_voc --root ./data/VOC --sbd ./benchmark_RELEASE

* **Root folder**: ``VOC2007`` (trainval and test) and ``VOC2012`` (trainval), as published.
* **Output**: the lists ``trainvalsegdet`` of both years and ``segval`` of 2012 in ``ImageSets/Main``, and training
  masks in ``SegmentationClassAug``: the official ones, and with --sbd also those of SBD. See
  `datasets.preparation.voc_lists` for the rule.

Existing files are not changed.
"""

import sys
from pathlib import Path

from datasets.preparation.voc_lists import DIFFERS, Summary, prepare
from options.parser import Parser
from utils.errors import exit_on_user_error


def report(summary: Summary) -> None:
    """Print the summary."""
    for year, (total, written) in summary.masks.items():
        print(f"VOC{year}: masks of {total} training images, {written} of them written now")
    for one in summary.lists:
        print(f"{one.path}: {one.count} images, {one.state}")
        if one.state == DIFFERS:
            print("  to write it by the rule, remove it and run this again", file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--root", required=True, type=Path, metavar="DIR", help="folder with VOC2007 and VOC2012")
    parser.add_argument("--sbd", type=Path, metavar="DIR", help="folder of SBD, to add its masks")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        summary = prepare(options.root, options.sbd)
    report(summary)


if __name__ == "__main__":
    main()
