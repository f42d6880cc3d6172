"""Check a dataset on disk: is everything there, can it be read, does it mean what the programs take it to mean?

    python tools/check_dataset.py --dataset MP3D --dataset_rootdir ./data/MP3D

The last line is the verdict. Exit code 0: all right; 1: something is wrong; 2: there is nothing to check.
"""

import argparse
import json
import os
import sys
from collections import Counter
from copy import copy
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from textwrap import wrap

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the packages lie beside this folder

import numpy as np
from torch.utils.data import default_collate

from datasets import DATASETS, SPLITS, build_dataset
from datasets.panorama import Panorama, pack, unpack
from datasets.stored import PanoramaFiles, StoredPanoramas
from tasks import TASKS
from tasks.display import Look
from tools.make_synthetic_dataset import NOTE
from utils.errors import UserError, exit_on_user_error
from utils.normal_frames import NormalPairs, draw_pairs, join_pairs, judge_normals
from utils.options import Parser, count, positive
from utils.parallel import map_with_progress
from utils.pictures import as_picture, maps_panel
from utils.tasks import MAX_DEPTH
from utils.visualize import save_picture

PREVIEW_HEIGHT = 256  # pixels of each map
_NORMALS_HEIGHT = 256  # pixels: normals are looked at in maps of this height
_BINS_PER_METRE = 100  # of the histogram of depth
_NUM_BINS = 70 * _BINS_PER_METRE + 1  # the last one holds all that is farther
_MOST_NAMES = 20  # on the screen
_SCREEN_WIDTH = 100  # columns
_HEADING_WIDTH = 11  # columns


@dataclass
class Statistics:
    """Sums over panoramas of what their maps hold.

    Attributes:
        sizes: how many panoramas are of each size, such as "1024x512".
        pixels: of all depth maps.
        valid_depths: pixels with a depth above 0 and up to 10 m.
        depths: (7001,) pixels for each centimetre.
        nearest, farthest: metres.
        labels: (classes,) pixels of each class.
        known_normals: pixels with a normal, extrapolated from smaller maps.
        pairs: of each panorama, see `utils.normal_frames`.
    """

    sizes: Counter = field(default_factory=Counter)
    pixels: int = 0
    valid_depths: int = 0
    depths: np.ndarray | int = 0
    nearest: float = np.inf
    farthest: float = 0.0
    labels: np.ndarray | int = 0
    known_normals: float = 0.0
    pairs: list[NormalPairs] = field(default_factory=list)

    def add(self, other: "Statistics") -> None:
        self.sizes += other.sizes
        self.pixels += other.pixels
        self.valid_depths += other.valid_depths
        self.depths = self.depths + other.depths
        self.nearest = min(self.nearest, other.nearest)
        self.farthest = max(self.farthest, other.farthest)
        self.labels = self.labels + other.labels
        self.known_normals += other.known_normals
        self.pairs += other.pairs

    def median_depth(self) -> float:
        """Metres, to the centimetre, of all pixels with a depth."""
        middle = np.searchsorted(np.cumsum(self.depths), np.sum(self.depths) / 2)
        return float(middle + 0.5) / _BINS_PER_METRE


@dataclass
class Findings:
    """What came out of one panorama, or of several: files that are missing, why others cannot be used, the rest."""

    missing: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    statistics: Statistics = field(default_factory=Statistics)

    def add(self, other: "Findings") -> None:
        self.missing += other.missing
        self.bad += other.bad
        self.statistics.add(other.statistics)


def open_parts(name: str, root: Path) -> dict[str, StoredPanoramas]:
    """The parts of a dataset that hold any panorama; none of them shares one with another.

    Raises:
        UserError: when none does.
    """
    special = {"metric_depth": True} if name == "Struc3D" else {}
    parts, errors = {}, []
    for part in SPLITS:
        try:
            parts[part] = build_dataset(
                name, str(root), part, PREVIEW_HEIGHT, 2 * PREVIEW_HEIGHT, hold_out_val=True, **special
            )
        except UserError as error:  # the part is empty, or the folder is missing
            errors.append(error)
    if not parts:
        raise errors[0]
    return parts


def synthetic_counts(name: str, root: Path) -> dict[str, int] | None:
    """Panoramas of each part that tools/make_synthetic_dataset.py wrote; None if the tree is not one of its own.

    Raises:
        UserError: when it wrote another dataset.
    """
    if not (root / NOTE).is_file():
        return None
    note = json.loads((root / NOTE).read_text(encoding="utf-8"))
    if note["layout"] != name:
        raise UserError(f"{root} was written with --layout {note['layout']}: check it with --dataset {note['layout']}")
    return note["counts"]


def examine(numbered: tuple[int, PanoramaFiles], dataset: StoredPanoramas) -> Findings:
    """Read one panorama, given its number and its files, as this dataset reads, and measure it."""
    number, files = numbered
    missing = [path for path in astuple(files) if not (dataset.root / path).is_file()]
    if missing:
        return Findings(missing=missing)
    reader = copy(dataset)
    reader.files = [files]
    try:
        panorama = reader.read(0)
    except UserError as error:
        return Findings(bad=[str(error)])
    return Findings(statistics=measure(panorama, len(dataset.classes), seed=number))


def measure(panorama: Panorama, num_classes: int, seed: int) -> Statistics:
    """Statistics of one panorama; the seed is that of the pixels whose normals are looked at."""
    height, width = panorama.depth.shape
    metres = panorama.depth[panorama.depth > 0] * panorama.depth_scale
    bins = np.minimum(metres * _BINS_PER_METRE, _NUM_BINS - 1).astype(int)
    small_height = min(height, _NORMALS_HEIGHT)  # enlarging would make steps in the depth
    small = unpack(pack(panorama.resized(small_height, 2 * small_height), index=0))
    normal = small["normal"].movedim(0, -1).numpy()
    return Statistics(
        sizes=Counter([f"{width}x{height}"]),
        pixels=panorama.depth.size,
        valid_depths=int((metres <= MAX_DEPTH).sum()),
        depths=np.bincount(bins, minlength=_NUM_BINS),
        nearest=float(metres.min()),
        farthest=float(metres.max()),
        labels=np.bincount(panorama.semantic[panorama.semantic >= 0], minlength=num_classes),
        known_normals=small["normal_mask"].float().mean().item() * panorama.depth.size,
        pairs=[draw_pairs(normal, small["depth"][0].numpy(), seed)],
    )


def examine_all(parts: dict[str, StoredPanoramas], num_workers: int) -> tuple[Findings, list[tuple[str, int]]]:
    """What came out of all panoramas, and which of them could be read: part and index there."""
    places = [(part, index) for part, dataset in parts.items() for index in range(len(dataset))]
    files = [parts[part].files[index] for part, index in places]
    reader = copy(next(iter(parts.values())))
    reader.files = []  # it travels to the processes with every panorama, and should travel light
    results = map_with_progress(partial(examine, dataset=reader), list(enumerate(files)), num_workers, "reading")
    total, readable = Findings(), []
    for place, findings in zip(places, results, strict=True):
        total.add(findings)
        if findings.statistics.pixels:
            readable.append(place)
    return total, readable


def report_counts(parts: dict[str, StoredPanoramas], written: dict[str, int] | None) -> list[str]:
    """Print how many panoramas each part holds and should hold; return what is wrong."""
    expected = written or next(iter(parts.values())).counts
    problems = []
    print_rows("", ["found  expected"])
    for part in SPLITS:
        found = len(parts.get(part, ()))
        print_rows(part, [f"{found:5d}  {expected[part]:8d}"])
        if found != expected[part]:
            problems.append(f"{part} holds {found} panorama{'s' * (found != 1)} instead of {expected[part]}")
    return problems


def report_names(heading: str, names: list[str], one: str, several: str) -> list[str]:
    """Print names of what is wrong, not too many; return what is wrong, as "1 `one`" or "9 `several`"."""
    if not names:
        return []
    more = len(names) - _MOST_NAMES
    print_rows(heading, names[:_MOST_NAMES] + ([f"and {more} more"] if more > 0 else []))
    return [f"{len(names)} {one if len(names) == 1 else several}"]


def report_contents(statistics: Statistics, class_names: tuple[str, ...], normal_frame: str) -> list[str]:
    """Print what the panoramas hold; return what is wrong."""
    print_rows("sizes", [", ".join(f"{size}: {num}" for size, num in statistics.sizes.most_common())])
    depth_range = f"{statistics.nearest:.2f} to {statistics.farthest:.2f} m, median {statistics.median_depth():.2f} m"
    valid = statistics.valid_depths / statistics.pixels
    print_rows("depth", [f"{depth_range}; {valid:.1%} of the pixels are valid (up to {MAX_DEPTH:g} m)"])
    normals = judge_normals(join_pairs(statistics.pairs), normal_frame)
    print_rows("normals", [f"known in {statistics.known_normals / statistics.pixels:.1%} of the pixels", normals.text])
    labelled = int(np.sum(statistics.labels))
    print_rows("labels", [f"known in {labelled / statistics.pixels:.1%} of the pixels, of these:"])
    print_rows("", class_table(statistics.labels, class_names))
    return [normals.problem] if normals.problem else []


def class_table(labels: np.ndarray, class_names: tuple[str, ...]) -> list[str]:
    """Share of each class among the labelled pixels, the largest first, in rows; then the classes that never occur."""
    order = [label for label in np.argsort(-labels, kind="stable") if labels[label]]
    cells = [f"{labels[label] / labels.sum():6.1%} {class_names[label]}" for label in order]
    width = 2 + max(map(len, cells), default=0)
    columns = max(1, (_SCREEN_WIDTH - _HEADING_WIDTH) // width)
    padded = [cell.ljust(width) for cell in cells]
    rows = ["".join(padded[i : i + columns]).rstrip() for i in range(0, len(cells), columns)]
    absent = [name for name, pixels in zip(class_names, labels, strict=True) if not pixels]
    if absent:
        rows += wrap(f"never: {', '.join(absent)}", _SCREEN_WIDTH - _HEADING_WIDTH)
    return rows


def print_rows(heading: str, rows: list[str]) -> None:
    """Print rows of text with a heading left of the first."""
    for row in rows:
        print(f"{heading:{_HEADING_WIDTH}}{row}")
        heading = ""


def draw_previews(parts: dict[str, StoredPanoramas], places: list[tuple[str, int]], num: int, out: Path) -> None:
    """Draw `num` of the panoramas at these places (part and index there), evenly spaced, to a folder."""
    chosen = np.unique(np.linspace(0, len(places) - 1, num).round().astype(int))
    for number, place in enumerate(chosen):
        part, index = places[place]
        save_picture(out / f"preview_{number:03d}_{part}.png", preview(parts[part], index))
    print(f"previews: {len(chosen)} in {out}")


def preview(dataset: StoredPanoramas, index: int) -> np.ndarray:
    """RGB, depth, normals and labels of a panorama in one picture."""
    batch = default_collate([dataset[index]])
    maps = {name: task.display.truth_map(batch, 0) for name, task in TASKS.items()}
    look = Look(dataset.classes.names, dataset.classes.colours, dataset.depth_unit, dataset.normal_frame)
    return maps_panel(as_picture(batch["rgb"][0]), maps, look, caption=batch["id"][0])


def check(options: argparse.Namespace) -> list[str]:
    """Print what there is to say about a dataset, draw previews of it, and return what is wrong in a few words each.

    Raises:
        UserError: when there is nothing to check.
    """
    written = synthetic_counts(options.dataset, options.dataset_rootdir)
    parts = open_parts(options.dataset, options.dataset_rootdir)
    findings, readable = examine_all(parts, options.num_workers)
    by_whom = ", written by tools/make_synthetic_dataset.py" if written else ""
    print(f"{options.dataset} in {options.dataset_rootdir}{by_whom}")
    if options.dataset == "Struc3D":
        print("Here depth is in metres, as with --metric_depth.")
    problems = report_counts(parts, written)
    problems += report_names("missing", findings.missing, "file is missing", "files are missing")
    problems += report_names("bad", findings.bad, "panorama cannot be used", "panoramas cannot be used")
    if readable:
        problems += report_contents(findings.statistics, parts[readable[0][0]].classes.names, options.normal_frame)
    if readable and options.preview:
        draw_previews(parts, readable, options.preview, options.out)
    return problems


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__.partition("\n")[0])
    stored = tuple(name for name in DATASETS if name != "Synthetic")
    parser.add_argument("--dataset", required=True, choices=stored, help="what it should be")
    parser.add_argument("--dataset_rootdir", required=True, type=Path, metavar="DIR", help="its folder")
    parser.add_argument(
        "--normal_frame",
        default="camera",
        choices=("camera", "world"),
        help="frame that the stored normals should be in; world ones, of the building, do not turn with the camera",
    )
    parser.add_argument("--num_workers", type=count, default=os.cpu_count(), metavar="N", help="processes that read")
    parser.add_argument("--preview", type=positive, metavar="N", help="draw so many of the panoramas to --out")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the previews")
    options = parser.parse_args(arguments)
    if (options.preview is None) != (options.out is None):
        parser.error("--preview and --out go together")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Check as the command line says; the exit code."""
    options = parse(arguments)
    with exit_on_user_error():
        problems = check(options)
    if not problems:
        print("all right")
        return 0
    things = "1 thing is" if len(problems) == 1 else f"{len(problems)} things are"
    print(f"{things} wrong: {'; '.join(problems)}")
    return 1


if __name__ == "__main__":
    # The processes that read take this over. They are as many as the cores already.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
