"""Check a dataset on disk: is it complete and readable, and does it follow the expected conventions?

    python -m tools.check_dataset --dataset MP3D --dataset_rootdir ./data/MP3D

The last line is the result. Exit code 0: all right; 1: something is wrong; 2: there is nothing to check, or
the command line is wrong.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
from torch.utils.data import default_collate
from tqdm import tqdm

from datasets import DATASETS, PERSPECTIVE_DATASETS, SPLITS, build_dataset, build_perspective_dataset
from datasets.checks.measurement import Measurement, class_pixels, evaluate, measure
from datasets.checks.objects import evaluate_objects, measure_dataset
from datasets.checks.perspective import (
    ImageMeasurement,
    evaluate_images,
    image_class_pixels,
    measure_image,
    stored_axes,
)
from datasets.checks.report import class_table, print_rows, report_findings, report_names, report_sizes
from datasets.folder import described_tasks
from datasets.folder_description import read_description
from datasets.nyuv2 import OUR_AXES, NYUv2
from datasets.on_disk import DiskPanoramaDataset, PanoramaFiles
from datasets.perspective import PerspectiveDataset
from datasets.preparation.detection_layouts import DETECTION_WRITERS
from datasets.preparation.nyu_layouts import NYU_WRITERS
from datasets.preparation.pinhole_normals import NORMAL_AXES
from datasets.preparation.synthetic_layouts import NOTE
from options.parser import Parser, count, positive
from tasks import DISPLAYS, TASKS
from utils.errors import UserError, exit_on_user_error
from utils.parallel import map_with_progress
from utils.tasks import MAP_OF_TASK, METERS, TASK_NAMES, TASK_VALUES, parse_tasks
from visual.displays import DisplaySettings
from visual.drawing import save_image
from visual.panels import maps_panel, to_uint8

PREVIEW_HEIGHT = 256  # pixels of each map
_NYU = "NYUv2"  # perspective images with depth, normals and labels
_OBJECTS = tuple(DETECTION_WRITERS)  # perspective images with boxes, or with depth only
_FOLDER = "Folder"  # described by its dataset.json


@dataclass
class Findings:
    """Findings for panoramas or images: missing files, errors of unusable samples, measurements of the others."""

    missing: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    measured: list[Measurement | ImageMeasurement] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        self.missing += other.missing
        self.bad += other.bad
        self.measured += other.measured


def open_parts(options: argparse.Namespace, tasks: tuple[str, ...]) -> dict[str, DiskPanoramaDataset | NYUv2]:
    """Open the parts of a dataset that are not empty: its splits, which are disjoint, or the given lists.

    Raises:
        UserError: when all are empty.
    """
    if options.dataset == _NYU:  # read along our axes; the stored axes are estimated from all images
        build = partial(build_perspective_dataset, _NYU, str(options.dataset_rootdir), hold_out_val=True, tasks=tasks)
        build = partial(build, normal_axes=OUR_AXES, height=PREVIEW_HEIGHT, width=PREVIEW_HEIGHT * 4 // 3)
        return open_splits(options, build)
    lists = {"train_list": options.train_list, "val_list": options.val_list}
    special = {"hold_out_val": True, "tasks": tasks}
    if options.dataset != _FOLDER:
        special["normal_frame"] = options.normal_frame
    if options.dataset == "Struc3D":
        special["metric_depth"] = True
    build = partial(build_dataset, options.dataset, str(options.dataset_rootdir), **special)
    size = {"height": PREVIEW_HEIGHT, "width": 2 * PREVIEW_HEIGHT}
    if any(lists.values()):
        return {
            part: build(split="train" if part == "train_list" else "test", list_file=path, **size)
            for part, path in lists.items()
            if path
        }
    return open_splits(options, partial(build, **size))


def open_splits(options: argparse.Namespace, build: Callable) -> dict[str, DiskPanoramaDataset | NYUv2]:
    """Open the splits that are not empty, or only --split, with `build(split=...)`.

    Raises:
        UserError: when all are empty, or a split in dataset.json is wrong.
    """
    if options.dataset == _FOLDER:
        described = read_description(options.dataset_rootdir).splits or SPLITS
        return {part: build(split=part) for part in ([options.split] if options.split else described)}
    parts, errors = {}, []
    for part in [options.split] if options.split else SPLITS:
        try:
            parts[part] = build(split=part)
        except UserError as error:  # the part is empty, or the folder is missing
            errors.append(error)
    if not parts:
        raise errors[0]
    return parts


def synthetic_counts(name: str, root: Path) -> dict[str, int] | None:
    """Number of samples per split in a tree of tools/make_synthetic_dataset.py; None for other trees.

    Raises:
        UserError: when the tree was written for another dataset.
    """
    if not (root / NOTE).is_file():
        return None
    note = json.loads((root / NOTE).read_text(encoding="utf-8"))
    written_for = _NYU if note["layout"] in NYU_WRITERS else note["layout"]
    if written_for != name:
        raise UserError(f"{root} was written with --layout {note['layout']}: check it with --dataset {written_for}")
    return note["counts"]


def examine(files: PanoramaFiles, dataset: DiskPanoramaDataset) -> Findings:
    """Read one panorama as `dataset` would, and measure it."""
    missing = [path for path in files.paths() if not (dataset.root / path).is_file()]
    if missing:
        return Findings(missing=missing)
    reader = copy(dataset)
    reader.files = [files]
    tasks = tuple(task for task in dataset.tasks if getattr(files, MAP_OF_TASK[task]) is not None)
    try:
        return Findings(measured=[measure(reader.read(0), tasks, dataset.classes.names)])
    except UserError as error:
        return Findings(bad=[str(error)])


def examine_image(image_id: str, dataset: NYUv2) -> Findings:
    """As `examine`, for an image of NYU v2."""
    missing = [str(path) for path in dataset.layout.files(image_id, dataset.kinds) if not path.is_file()]
    if missing:
        return Findings(missing=missing)
    reader = copy(dataset)
    reader.ids = [image_id]
    try:
        image = reader.read(0)
    except UserError as error:
        return Findings(bad=[str(error)])
    camera = dataset.layout.camera(*image.size)
    return Findings(measured=[measure_image(image, dataset.tasks, dataset.classes.names, camera)])


def examine_all(
    parts: dict[str, DiskPanoramaDataset | NYUv2], num_workers: int | None
) -> tuple[Findings, list[tuple[str, int]]]:
    """Examine all samples; returns the findings, and part and index of each readable sample."""
    indices = [(part, index) for part, dataset in parts.items() for index in range(len(dataset))]
    reader = copy(next(iter(parts.values())))
    # Without its list of files, as it is pickled with every sample.
    if isinstance(reader, NYUv2):
        reader.ids = []
        work, samples = examine_image, [parts[part].ids[index] for part, index in indices]
    else:
        reader.files = []
        work, samples = examine, [parts[part].files[index] for part, index in indices]
    results = map_with_progress(partial(work, dataset=reader), samples, num_workers, "reading")
    total, readable = Findings(), []
    for part_and_index, findings in zip(indices, results, strict=True):
        total.add(findings)
        if findings.measured:
            readable.append(part_and_index)
    return total, readable


def report_counts(
    parts: dict[str, DiskPanoramaDataset | NYUv2], written: dict[str, int] | None, is_partial: bool
) -> list[str]:
    """Print the number of samples in each split, found and expected; return the problems.

    Args:
        parts: splits by name.
        written: expected numbers, if they differ from those of the published dataset.
        is_partial: whether splits may be incomplete.
    """
    first = next(iter(parts.values()))
    noun = "image" if isinstance(first, NYUv2) else "panorama"
    expected = nyu_counts(parts, written) if isinstance(first, NYUv2) else written or first.counts
    if expected is None:
        for part, dataset in parts.items():
            print_rows(part, [f"{len(dataset)} {noun}s"])
        return []
    problems = []
    print_rows("", ["found  expected"])
    for part in SPLITS:
        found = len(parts.get(part, ()))
        if is_partial and not found:
            continue
        print_rows(part, [f"{found:5d}  {expected[part]:8d}"])
        if found != expected[part] and not is_partial:
            problems.append(f"{part} holds {found} {noun}{'s' * (found != 1)} instead of {expected[part]}")
    return problems


def nyu_counts(parts: dict[str, NYUv2], written: dict[str, int] | None) -> dict[str, int]:
    """Expected number of images in each split of NYU v2; "val" is held out from the training images."""
    num_val = len(parts.get("val", ()))
    if written:
        return {"train": written["train"] - num_val, "val": num_val, "test": written["test"]}
    return dict.fromkeys(SPLITS, 0) | {"val": num_val} | {part: one.expected_count for part, one in parts.items()}


def report_lists(parts: dict[str, DiskPanoramaDataset]) -> list[str]:
    """Print the number of panoramas in each list; return the problems."""
    for part, dataset in parts.items():
        print_rows(part, [f"{len(dataset)} panoramas"])
    named = [{files.rgb for files in dataset.files} for dataset in parts.values()]
    common = len(set.intersection(*named)) if len(named) > 1 else 0
    return [f"{common} panorama{' is' if common == 1 else 's are'} in both lists"] if common else []


def report_contents(
    measured: list[Measurement | ImageMeasurement], dataset: DiskPanoramaDataset | NYUv2, normal_axes: str | None
) -> list[str]:
    """Print statistics of the samples; return the problems."""
    names = dataset.classes.names
    report_sizes(measured)
    if isinstance(dataset, NYUv2):
        findings = evaluate_images(measured, names, normal_axes, dataset.layout.normal_source)
    else:
        findings = evaluate(
            measured,
            dataset.tasks,
            names,
            dataset.normal_frame,
            relative_to_largest=dataset.name == "Struc3D",
            in_meters=dataset.depth_unit == METERS,
        )
    pixels = image_class_pixels if isinstance(dataset, NYUv2) else class_pixels
    has_labels = any(one.labels is not None for one in measured)
    return report_findings(findings, class_table(pixels(measured), names) if has_labels else [])


def draw_previews(parts: dict[str, DiskPanoramaDataset], readable: list[tuple[str, int]], num: int, out: Path) -> None:
    """Draw `num` evenly spaced samples of `readable`, (part, index), to a folder."""
    chosen = np.unique(np.linspace(0, len(readable) - 1, num).round().astype(int))
    for number, choice in enumerate(chosen):
        part, index = readable[choice]
        save_image(out / f"preview_{number:03d}_{part}.png", preview(parts[part], index))
    print(f"previews: {len(chosen)} in {out}")


def preview(dataset: DiskPanoramaDataset | NYUv2, index: int) -> np.ndarray:
    """RGB and ground truth of a sample in one image."""
    batch = default_collate([dataset[index]])
    maps = {name: TASKS[name].display.target_map(batch, 0) for name in dataset.tasks}
    settings = DisplaySettings(dataset.classes.names, dataset.classes.colors, dataset.depth_unit, dataset.normal_frame)
    return maps_panel(to_uint8(batch["rgb"][0]), maps, DISPLAYS, settings, caption=batch["id"][0])


def tasks_to_check(options: argparse.Namespace) -> tuple[str, ...]:
    """The tasks of --task; by default all with ground truth."""
    if options.task:
        return parse_tasks(options.task)
    return described_tasks(read_description(options.dataset_rootdir)) if options.dataset == _FOLDER else TASK_NAMES


def check(options: argparse.Namespace) -> list[str]:
    """Print a report on a dataset, draw previews, and return short descriptions of its problems.

    Raises:
        UserError: when there is nothing to check.
    """
    tasks = tasks_to_check(options)
    written = synthetic_counts(options.dataset, options.dataset_rootdir)
    parts = open_parts(options, tasks)
    findings, readable = examine_all(parts, options.num_workers)
    origin = ", written by tools/make_synthetic_dataset.py" if written else ""
    print(f"{options.dataset} in {options.dataset_rootdir}{origin}")
    if options.dataset == _NYU:
        first = next(iter(parts.values()))
        print(f"Copy {first.layout.letter}: {first.layout.title}; {len(first.classes)} classes")
        print_rows("val", [parts["val"].hold_out] if "val" in parts else [])
    if options.dataset == "Struc3D":
        print("Depth is read in meters, as with --metric_depth.")
    if options.train_list or options.val_list:
        problems = report_lists(parts)
    else:
        problems = report_counts(parts, written, is_partial=bool(options.partial or options.split))
    problems += report_names("missing", findings.missing, "file is missing", "files are missing")
    noun = "image" if options.dataset == _NYU else "panorama"
    problems += report_names("bad", findings.bad, f"{noun} cannot be used", f"{noun}s cannot be used")
    if readable:
        problems += report_contents(findings.measured, parts[readable[0][0]], options.normal_axes)
    if readable and options.preview:
        if options.dataset == _NYU:
            axes = options.normal_axes or stored_axes(findings.measured) or OUR_AXES
            for dataset in parts.values():
                dataset.axes = axes
        draw_previews(parts, readable, options.preview, options.out)
    return problems


def check_objects(options: argparse.Namespace) -> list[str]:
    """As `check`, for datasets of perspective images with boxes, or with depth only."""
    written = synthetic_counts(options.dataset, options.dataset_rootdir)
    size = {"height": PREVIEW_HEIGHT, "width": PREVIEW_HEIGHT * 4 // 3}
    module, name = PERSPECTIVE_DATASETS[options.dataset]
    tasks = getattr(import_module(module), name).labeled_tasks
    build = partial(build_perspective_dataset, options.dataset, str(options.dataset_rootdir), hold_out_val=True)
    parts: dict[str, PerspectiveDataset] = open_splits(options, partial(build, tasks=tasks, **size))
    measured, bad, missing = [], [], []
    for part, dataset in parts.items():
        missing += dataset.missing_files()
        results = measure_dataset(dataset, options.num_workers)
        for result in tqdm(results, f"reading {part}", len(dataset), unit="file", dynamic_ncols=True):
            (bad if isinstance(result, str) else measured).append(result)
    origin = ", written by tools/make_synthetic_dataset.py" if written else ""
    print(f"{options.dataset} in {options.dataset_rootdir}{origin}")
    for part, dataset in parts.items():
        print_rows(part, [f"{len(dataset)} images"])
    problems = report_names("missing", missing, "file is missing", "files are missing")
    problems += report_names("bad", bad, "image cannot be used", "images cannot be used")
    if measured:
        classes = next(iter(parts.values())).classes.names
        labels = [one.labels for one in measured if one.labels is not None]
        report_sizes(measured)
        table = class_table(np.sum(labels, axis=0), classes) if labels else []
        problems += report_findings(evaluate_objects(measured, tasks, classes), table)
    return problems


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    stored = tuple(name for name in DATASETS if name != "Synthetic")
    parser.add_argument("--dataset", required=True, choices=(*stored, _NYU, *_OBJECTS), help="expected dataset")
    parser.add_argument("--dataset_rootdir", required=True, type=Path, metavar="DIR", help="folder of the dataset")
    parser.add_argument(
        "--task",
        choices=TASK_VALUES,
        help="tasks to check (default: all with ground truth); files that only other tasks need are not read",
    )
    subset = parser.add_argument_group("check only a part of the dataset")
    subset.add_argument("--split", choices=SPLITS, help="check only this split")
    subset.add_argument("--partial", action="store_true", help="accept incomplete splits")
    subset.add_argument("--train_list", metavar="FILE", help="check the panoramas of this list instead of the splits")
    subset.add_argument("--val_list", metavar="FILE", help="as --train_list; both can be given")
    parser.add_argument(
        "--normal_frame",
        default="camera",
        choices=("camera", "world"),
        help="expected frame of the stored normals: the camera's, or the building's (world)",
    )
    parser.add_argument(
        "--normal_axes",
        choices=tuple(NORMAL_AXES),
        help="expected axes of the stored normals of NYUv2 (default: any that agree with depth)",
    )
    parser.add_argument(
        "--num_workers", type=count, metavar="N", help="worker processes (default: one per core, 0 for few files)"
    )
    parser.add_argument("--preview", type=positive, metavar="N", help="draw N samples with their ground truth to --out")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the previews")
    options = parser.parse_args(arguments)
    if (options.preview is None) != (options.out is None):
        parser.error("--preview and --out go together")
    if options.dataset == _NYU and (options.train_list or options.val_list or options.normal_frame != "camera"):
        parser.error("--train_list, --val_list and --normal_frame do not apply to NYUv2: drop them")
    only_panoramas = options.train_list or options.val_list or options.normal_frame != "camera"
    if options.dataset in _OBJECTS and (only_panoramas or options.task or options.preview or options.partial):
        parser.error(f"{options.dataset} supports only --split and --num_workers: drop the other flags")
    if options.dataset == _FOLDER and options.normal_frame != "camera":
        parser.error("--normal_frame: dataset.json states the frame of a Folder: drop the flag")
    if options.dataset != _NYU and options.normal_axes:
        parser.error("--normal_axes applies only to NYUv2: drop it")
    if options.split and (options.train_list or options.val_list):
        parser.error("--split cannot be combined with --train_list or --val_list: drop one of them")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse(arguments)
    with exit_on_user_error():
        problems = check_objects(options) if options.dataset in _OBJECTS else check(options)
    if not problems:
        print("all right")
        return 0
    print(f"{len(problems)} problem{'s' * (len(problems) != 1)}: {'; '.join(problems)}")
    return 1


if __name__ == "__main__":
    # Inherited by the worker processes, one per core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
