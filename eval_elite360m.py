"""Evaluate a checkpoint of Elite360M, ours or the released code's, on a dataset.

    python eval_elite360m.py --load_weights_dir ./workdirs/Synthetic --log_dir ./test_uni/Synthetic --dataset Synthetic

With --predictions DIR, evaluates a folder of predictions of any program instead. With --tta N, the metrics are those
of the average over N views, and the metrics of the plain network are added.
Writes under <log_dir>/<backbone>/<task>/: result.txt per task, results.json, per_image.csv, images, and with
--report an HTML report, report.html. Nothing is written before the evaluation is complete.
"""

from options.elite360m import PAPER_BACKBONE, check_size, eval_parser

if __name__ == "__main__":
    OPTIONS = eval_parser().parse_args()  # before importing torch, so that --help and wrong flags respond at once

import argparse
from pathlib import Path

import torch

from datasets.loading import evaluation_batches, report_bad_samples
from datasets.panorama import PanoramaDataset
from metrics.protocol import Protocol
from networks.backbones import folder_of
from networks.checkpoint import open_checkpoint
from options.data import describe, evaluation_set, loading_settings
from options.evaluation import (
    check_foreign,
    check_protocol,
    class_map_of,
    evaluated_batches,
    extras_of,
    fold_notes,
    identify,
    size_notes,
)
from options.protocol import protocol_of
from prediction.candidate import Candidate, foreign_candidate, network_candidate
from prediction.foreign import ForeignPredictions, read_declaration
from reports import require_packages
from reports.evaluation import Evaluation, require_same_checkpoint, write_evaluation
from reports.results import describe_evaluation
from tasks import FOLDERS
from tasks.meaning import compare_meaning, display_settings_of
from training.evaluation_folder import IDENTITY, EvaluationFolder
from training.setup import precision_of, prepare_device
from utils.distributed import is_main, process_group
from utils.errors import exit_on_user_error
from utils.tasks import parse_tasks


def main(options: argparse.Namespace) -> None:
    """Evaluate with the options of the command line."""
    if options.report:
        require_packages()
    check_size(options.height, options.width)
    protocol = protocol_of(options)
    prepare_device(tf32=not options.no_tf32)
    with process_group(options.gpu_devices, options.device) as device:
        candidate, dataset, comparison = (open_foreign if options.predictions else open_network)(options, device)
        evaluate(options, candidate, dataset, comparison, protocol, device)


def open_network(options: argparse.Namespace, device: torch.device) -> tuple[Candidate, PanoramaDataset, dict]:
    """The network of a checkpoint, the dataset, and how their meanings compare; sets `options.backbone`."""
    run_path = Path(options.task) / folder_of(options.backbone or PAPER_BACKBONE)
    checkpoint = open_checkpoint(options.load_weights_dir, run_path)
    settings = checkpoint.settings
    options.backbone = options.backbone or settings.backbone
    require_same_checkpoint(checkpoint)
    dataset = open_dataset(options, settings.height, settings.width)
    checkpoint.require(options.backbone, parse_tasks(options.task), len(dataset.classes))
    comparison = compare_meaning(checkpoint, display_settings_of(dataset), dataset.tasks, options.allow_mismatch)
    comparison["notes"] += fold_notes(options, settings) + size_notes(dataset, settings)
    candidate = network_candidate(checkpoint, device, options.tta, options.amp, options.compile, options.channels_last)
    if (class_map := class_map_of(options)) and "segmentation" in dataset.tasks:
        candidate = candidate.with_classes(class_map)
    return candidate, dataset, comparison


def open_foreign(options: argparse.Namespace, device: torch.device) -> tuple[Candidate, PanoramaDataset, dict]:
    """As `open_network`, for the predictions of another program."""
    check_foreign(options)
    declaration = read_declaration(options.predictions)
    dataset = open_dataset(options, *declaration.size)
    class_map = class_map_of(options)
    predictions = ForeignPredictions(options.predictions, declaration, dataset.tasks, dataset.classes, class_map)
    comparison = compare_meaning(predictions, display_settings_of(dataset), dataset.tasks, options.allow_mismatch)
    return foreign_candidate(predictions), dataset, comparison


def open_dataset(options: argparse.Namespace, height: int, width: int) -> PanoramaDataset:
    """The panoramas to evaluate on, at --height x --width; without these options, at the given size."""
    dataset = evaluation_set(options, options.split, options.height or height, options.width or width)
    check_protocol(options, dataset)
    return dataset


def evaluate(
    options: argparse.Namespace,
    candidate: Candidate,
    dataset: PanoramaDataset,
    comparison: dict,
    protocol: Protocol,
    device: torch.device,
) -> None:
    """Evaluate a candidate and write the results. `comparison`: see `compare_meaning`."""
    dataset.keeps_stored = protocol.needs_stored
    source, class_map = candidate.source, class_map_of(options)
    identity = identify(options, source, dataset, precision_of(device, options.amp))
    if class_map:
        dataset.classes = class_map.classes  # from here on, labels and predictions are in these
    name = source.path.resolve().name if options.predictions else folder_of(options.backbone)
    folder = EvaluationFolder(Path(options.log_dir) / name / options.task, identity, FOLDERS, options.overwrite)
    with folder.open():
        if is_main():
            print(describe(dataset, options), *comparison["notes"], sep="\n")
        loaded = evaluation_batches(dataset, loading_settings(options), device)
        batches = evaluated_batches(loaded, options, class_map, dataset.normal_frame, protocol.region)
        results = Evaluation(candidate, dataset, batches, protocol, device).run(extras_of(options), folder.run)
        report_bad_samples(loaded)
        summary = results.summary | describe_evaluation(options, name, source, dataset, len(results.rows), protocol)
        summary |= {IDENTITY: identity, **comparison}
        write_evaluation(folder.run, summary, results, display_settings_of(dataset))


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
