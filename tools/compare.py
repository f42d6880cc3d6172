"""Compare checkpoints, other programs' predictions and finished evaluations on the same panoramas in one table.

    python -m tools.compare --of ours=./workdirs/Synthetic theirs=./predictions --dataset Synthetic \\
        --protocol unifuse da2 pager --out ./comparison

Writes comparison.md, comparison.csv, comparison.json and, with --report, comparison.html. Entries of --of are
NAME=PATH: a folder with results.json is a finished evaluation, one with predictions.json holds predictions of any
program, and any other path is a checkpoint (`default`: the weights in this repository).
"""

from options.elite360m import check_size, compare_parser

if __name__ == "__main__":
    OPTIONS = compare_parser().parse_args()  # before importing torch, so that --help and wrong flags respond at once

import argparse
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from datasets.class_maps import ClassMap
from datasets.loading import evaluation_batches, report_bad_samples
from datasets.panorama import PanoramaDataset
from metrics.evaluator import PredictedBatches, evaluate_predictions
from metrics.protocol import Protocol
from networks.backbones import DEFAULT
from networks.checkpoint import Checkpoint, open_checkpoint
from options.data import evaluation_set, loading_settings
from options.evaluation import check_protocol, class_map_of, evaluated_batches
from options.protocol import protocol_of
from prediction.candidate import Candidate, foreign_candidate, network_candidate
from prediction.cost import measure_cost
from prediction.foreign import DECLARATION, Declaration, ForeignPredictions, read_declaration
from reports import require_packages
from reports.comparison import Compared, Comparison, write_comparison
from reports.gallery import make_thumbnail
from reports.results import describe_protocols
from tasks import build_baselines, build_evaluator
from tasks.meaning import compare_meaning, display_settings_of
from training.setup import prepare_device
from utils.distributed import process_group
from utils.errors import UserError, exit_on_user_error
from visual.displays import DisplaySettings

_RESULTS = "results.json"
_DEFAULTS = {"zoom": 1.0}  # for entries that older evaluations lack
BASELINE = "baseline: fixed maps"

Source = Checkpoint | Declaration | dict  # a checkpoint, predictions of another program, or a finished evaluation


def main(options: argparse.Namespace) -> None:
    """Run the comparison of a command line."""
    if options.report:
        require_packages()
    check_size(options.height, options.width)
    protocol = protocol_of(options)
    out = Path(options.out)
    require_writable(out)
    if not options.overwrite and (out / "comparison.json").exists():
        raise UserError(f"{out} already holds a comparison: pass --overwrite to replace it, or another --out")
    sources = {name: read_source(path) for name, path in options.of}
    if len(sources) < len(options.of):
        raise UserError("--of has several entries of the same name: choose different names")
    prepare_device(tf32=not options.no_tf32)
    with process_group(options.gpu_devices, options.device) as device:
        dataset = evaluation_set(options, options.split, *size_of(options, sources.values()))
        check_protocol(options, dataset)
        dataset.keeps_stored = protocol.needs_stored
        comparison = compare(options, sources, dataset, protocol, device)
    out.mkdir(parents=True, exist_ok=True)
    if options.report:
        from reports.comparison_page import write_page  # needs optional packages

        write_page(out / "comparison.html", comparison)
    write_comparison(out, comparison)
    for table in comparison.tables():
        print(f"\n{table.title}\n\n{table.to_markdown()}")
    print(f"\nwritten to {out}")


def require_writable(path: Path) -> None:
    """Make sure that a folder, which may not exist yet, can be written to.

    Raises:
        UserError: when it cannot.
    """
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"--out {path} cannot be written to: pass another folder")


def read_source(path: str) -> Source:
    """Read a path of --of; for checkpoints see `open_checkpoint`.

    Raises:
        UserError: when there is nothing to compare.
    """
    file = Path(path) / _RESULTS
    if path == DEFAULT or not file.is_file():
        is_foreign = path != DEFAULT and (Path(path) / DECLARATION).is_file()
        return read_declaration(path) if is_foreign else open_checkpoint(path)
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        results["results"], results["checkpoint"]["path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged, or not from this program: evaluate again") from error
    return results


def size_of(options: argparse.Namespace, sources: Iterable[Source]) -> tuple[int, int]:
    """Size (H, W) of the comparison: --height and --width, or the size of the first entry of --of."""
    if options.height:
        return options.height, options.width
    first = next(iter(sources))
    if isinstance(first, Declaration):
        return first.size
    if isinstance(first, dict):
        return first["height"], first["width"]
    return first.settings.height, first.settings.width


@dataclass
class CandidateEvaluator:
    """Evaluates candidates on the same panoramas.

    Attributes:
        options: command line.
        dataset: dataset to evaluate on.
        batches: its panoramas, with the evaluated region and classes.
        protocol: evaluation protocol.
        device: device of the predictions.
        settings: display settings, for the evaluated classes.
        shown: indices of the panoramas to show in the report.
        ids: ids of the evaluated panoramas, by index.
    """

    options: argparse.Namespace
    dataset: PanoramaDataset
    batches: Iterable[dict]
    protocol: Protocol
    device: torch.device
    settings: DisplaySettings
    shown: frozenset[int]
    ids: dict[int, str] = field(default_factory=dict)

    def evaluate(self, name: str, candidate: Candidate, on_batch: Callable[[dict], None] | None = None) -> Compared:
        """Metrics and images of a candidate; `on_batch` is called with each batch."""
        tasks, num_classes = self.dataset.tasks, len(self.settings.class_names)
        evaluator = build_evaluator(tasks, num_classes, self.device, protocol=self.protocol)
        images = {task: {} for task in tasks}

        def collect(number: int, batch: dict, predictions: dict) -> None:
            if on_batch:
                on_batch(batch)
            for i, index in enumerate(map(int, batch["index"])):
                self.ids[index] = batch["id"][i]
                for task in tasks if index in self.shown else ():
                    images[task][index] = make_thumbnail(task, batch, predictions[task][i], i)

        progress = tqdm(self.batches, desc=name, unit="batch", dynamic_ncols=True)
        predicted = PredictedBatches(progress, candidate.predict, self.protocol.at_truth_size)
        results, _ = evaluate_predictions(predicted, evaluator, on_batch=collect)
        source, cost = candidate.source, None
        if self.options.cost and isinstance(source, Checkpoint):
            cost = measure_cost(source, candidate.predict, self.dataset.height, self.dataset.width, self.device)
        return Compared(name, results, str(source.path), source.sha256, cost, images)


def compare(
    options: argparse.Namespace,
    sources: dict[str, Source],
    dataset: PanoramaDataset,
    protocol: Protocol,
    device: torch.device,
) -> Comparison:
    """Evaluate the sources that are not evaluated yet, one after the other, and compare all."""
    class_map = class_map_of(options)
    paths = dict(options.of)
    # Checks all sources before evaluating the first.
    candidates = {
        name: finished_evaluation(name, paths[name], source, options, dataset, protocol)
        if isinstance(source, dict)
        else candidate_builder(options, source, paths[name], dataset, class_map, device)
        for name, source in sources.items()
    }
    settings = display_settings_of(dataset)
    if class_map:
        settings = settings._replace(class_names=class_map.classes.names, class_colours=class_map.classes.colors)
    loaded = evaluation_batches(dataset, loading_settings(options), device)
    batches = evaluated_batches(loaded, options, class_map, dataset.normal_frame, protocol.region)
    number = min(options.images, len(dataset)) if options.report else 0
    shown = frozenset(i * len(dataset) // number for i in range(number))
    evaluator = CandidateEvaluator(options, dataset, batches, protocol, device, settings, shown)
    baselines = build_baselines(
        dataset.tasks, len(settings.class_names), dataset.height, dataset.width, dataset.normal_frame, protocol
    )
    compared, fit = [], baselines.fit if options.trivial else None
    for name, candidate in candidates.items():
        if isinstance(candidate, Compared):
            compared.append(candidate)
        else:
            compared.append(evaluator.evaluate(name, candidate(), fit))
            fit = None
    if options.trivial and evaluator.ids:
        baselines.evaluate(batches, device, with_breakdowns=False)
        compared.append(Compared(BASELINE, baselines.results()["fixed_map"]))
    report_bad_samples(loaded)
    facts = {
        "dataset": f"{options.dataset}, {options.val_list or 'split ' + options.split}"
        + (f" of fold {options.fold}" if options.fold else ""),
        "images": f"{len(evaluator.ids) or len(dataset)} of {dataset.width}x{dataset.height} pixels (width x height)",
        "depth": dataset.depth_unit,
        "normals": f"in the {dataset.normal_frame} frame",
        "classes": options.classes or "",
        "turn": " ".join(map(str, options.turn or ())),
        "zoom": f"{options.zoom:g}" if options.zoom != 1 else "",
    }
    ids = {index: evaluator.ids[index] for index in sorted(shown & evaluator.ids.keys())}
    return Comparison(compared, dataset.tasks, protocol, describe_protocols(protocol), facts, ids, settings)


def candidate_builder(
    options: argparse.Namespace,
    source: Checkpoint | Declaration,
    path: str,
    dataset: PanoramaDataset,
    class_map: ClassMap | None,
    device: torch.device,
) -> Callable[[], Candidate]:
    """A function that builds a candidate when it is evaluated, as networks take memory.

    Raises:
        UserError: when a task is missing, or predictions and ground truth differ in unit, frame or classes.
    """
    if isinstance(source, Checkpoint):
        source.require(source.settings.backbone, dataset.tasks, len(dataset.classes))
        build = partial(network_candidate, source, device, 1, options.amp, options.compile, options.channels_last)
    elif options.turn or options.zoom != 1:
        flag = "--turn" if options.turn else "--zoom"
        raise UserError(f"{flag} needs networks, but {path} holds predictions: drop one of the two")
    else:
        source = ForeignPredictions(path, source, dataset.tasks, dataset.classes, class_map)
        build = partial(foreign_candidate, source)
    compare_meaning(source, display_settings_of(dataset), dataset.tasks, options.allow_mismatch)
    if class_map and isinstance(source, Checkpoint) and "segmentation" in dataset.tasks:
        return lambda: build().with_classes(class_map)
    return build


def finished_evaluation(
    name: str, path: str, results: dict, options: argparse.Namespace, dataset: PanoramaDataset, protocol: Protocol
) -> Compared:
    """Results of a finished evaluation.

    Raises:
        UserError: when its panoramas or protocols differ from the comparison's, or a task is missing.
    """
    expected = {
        "dataset": options.dataset,
        "split": options.split,
        "list": options.val_list,
        "classes": options.classes,
        "fold": options.fold,
        "num_images": len(dataset),
        "height": dataset.height,
        "width": dataset.width,
        "turn": options.turn,
        "zoom": options.zoom,
        "protocol": describe_protocols(protocol),
    }
    if different := [key for key, value in expected.items() if results.get(key, _DEFAULTS.get(key)) != value]:
        raise UserError(f"{path} was evaluated with another {different[0]}: evaluate again, or pass its options here")
    if missing := [task for task in dataset.tasks if task not in results["results"]]:
        raise UserError(f"{path} was evaluated without {missing[0]}: choose another --task")
    checkpoint = results["checkpoint"]
    return Compared(name, results["results"], checkpoint["path"], checkpoint["sha256"], results.get("cost"))


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
