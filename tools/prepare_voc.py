"""Write the lists and masks that --dataset VOC needs beyond the official ones.

    python -m tools.prepare_voc --root ./data/VOC --sbd ./benchmark_RELEASE

* **Root folder**: ``VOC2007``, trainval and test, and ``VOC2012``, trainval, as published.
* **Written**: the lists ``trainvalsegdet`` of both years and ``segval`` of 2012 to ``ImageSets/Main``, and masks for
  training to ``SegmentationClassAug``: the official ones, and with --sbd those of SBD. See
  `datasets.preparation.voc_lists` for the rule.

Files that exist are left as they are.
"""

import sys
from pathlib import Path

from datasets.preparation.voc_lists import Summary, prepare
from options.parser import Parser
from utils.errors import exit_on_user_error


def report(summary: Summary) -> None:
    """Print what was done."""
    for year, (there, written) in summary.masks.items():
        print(f"VOC{year}: masks of {there} training images, {written} of them written now")
    for one in summary.lists:
        print(f"{one.path}: {one.count} images, {one.state}")
        if "different" in one.state:
            print("  remove it and run this again to have it written by the rule", file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--root", required=True, type=Path, metavar="DIR", help="folder of VOC2007 and VOC2012")
    parser.add_argument("--sbd", type=Path, metavar="DIR", help="folder of SBD, for its masks (default: without)")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        summary = prepare(options.root, options.sbd)
    report(summary)


if __name__ == "__main__":
    main()
