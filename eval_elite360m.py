"""Evaluate a checkpoint of Elite360M, of this program or the released one, on a dataset.

    python eval_elite360m.py --load_weights_dir ./workdirs/Synthetic --log_dir ./test_uni/Synthetic --dataset Synthetic

With --predictions DIR it evaluates a folder of predictions of any program instead. With --tta N the metrics are those
of the average over N views; those of the plain network are added.
Writes under <log_dir>/<backbone>/<task>/: result.txt per task, results.json, per_image.csv, images, and with
--report an HTML report, report.html. Nothing is written before the evaluation is complete.
"""

from options.elite360m import PAPER_BACKBONE, check_size, eval_parser

if __name__ == "__main__":
    OPTIONS = eval_parser().parse_args()  # before importing torch, so that --help and wrong flags respond at once

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from datasets.loading import evaluation_batches, report_bad_samples
from datasets.panorama import PanoramaDataset
from metrics.baselines import Baselines
from metrics.evaluator import Evaluator, PredictedBatches, evaluate_predictions
from metrics.protocol import Protocol
from networks.backbones import folder_of
from networks.checkpoint import open_checkpoint
from options.data import describe, evaluation_set, loading_settings
from options.evaluation import class_map_of, evaluated_batches, fold_notes, identify
from options.protocol import protocol_of
from prediction.candidate import BatchPredictor, Candidate, foreign_candidate, network_candidate
from prediction.cost import measure_cost
from prediction.foreign import ForeignPredictions, read_declaration
from reports import require_packages
from reports.gallery import Gallery
from reports.results import complete, describe_evaluation, write_results
from tasks import DISPLAYS, FOLDERS, build_baselines, build_evaluator
from tasks.meaning import compare_meaning, display_settings_of
from training.evaluation_folder import IDENTITY, EvaluationFolder
from training.run_folder import RunFolder
from training.setup import precision_of, prepare_device
from utils.distributed import gather_objects, is_main, process_group
from utils.errors import UserError, exit_on_user_error
from utils.tasks import parse_tasks
from visual.panels import panel_writer


def main(options: argparse.Namespace) -> None:
    """Evaluate with the options of the command line."""
    if options.report:
        require_packages()
    check_size(options.height, options.width)
    protocol = protocol_of(options)
    prepare_device(tf32=not options.no_tf32)
    with process_group(options.gpu_devices, options.device) as device:
        if options.predictions:
            evaluate_foreign(options, protocol, device)
        else:
            evaluate_checkpoint(options, protocol, device)


def evaluate_checkpoint(options: argparse.Namespace, protocol: Protocol, device: torch.device) -> None:
    """Evaluate the network of a checkpoint."""
    run_path = Path(options.task) / folder_of(options.backbone or PAPER_BACKBONE)
    checkpoint = open_checkpoint(options.load_weights_dir, run_path)
    options.backbone = options.backbone or checkpoint.settings.backbone
    if len(set(gather_objects(checkpoint.sha256))) > 1:
        raise UserError(f"{checkpoint.path} was replaced while the processes read it: evaluate a copy of it")
    settings = checkpoint.settings
    dataset = open_dataset(options, settings.height, settings.width)
    checkpoint.require(options.backbone, parse_tasks(options.task), len(dataset.classes))
    comparison = compare_meaning(checkpoint, display_settings_of(dataset), dataset.tasks, options.allow_mismatch)
    comparison["notes"] += fold_notes(options, settings)
    if (dataset.height, dataset.width) != (settings.height, settings.width):
        comparison["notes"].append(
            f"evaluated at {dataset.height}x{dataset.width}, trained at {settings.height}x{settings.width} "
            "(--height, --width): errors may be much larger than at the size of the training"
        )
    candidate = network_candidate(checkpoint, device, options.tta, options.amp, options.compile, options.channels_last)
    if (class_map := class_map_of(options)) and "segmentation" in dataset.tasks:
        candidate = candidate.with_classes(class_map)
    run_evaluation(options, candidate, folder_of(options.backbone), comparison, dataset, protocol, device)


def evaluate_foreign(options: argparse.Namespace, protocol: Protocol, device: torch.device) -> None:
    """Evaluate the predictions of another program."""
    needing = {"--tta": options.tta > 1, "--cost": options.cost, "--turn": options.turn, "--zoom": options.zoom != 1}
    for flag, is_given in needing.items():
        if is_given:
            raise UserError(f"{flag} needs a network: drop it for --predictions")
    declaration = read_declaration(options.predictions)
    dataset = open_dataset(options, *declaration.size)
    class_map = class_map_of(options)
    predictions = ForeignPredictions(options.predictions, declaration, dataset.tasks, dataset.classes, class_map)
    comparison = compare_meaning(predictions, display_settings_of(dataset), dataset.tasks, options.allow_mismatch)
    name = predictions.path.resolve().name
    run_evaluation(options, foreign_candidate(predictions), name, comparison, dataset, protocol, device)


def open_dataset(options: argparse.Namespace, height: int, width: int) -> PanoramaDataset:
    """The panoramas to evaluate on, at --height x --width or, without them, at this size."""
    return evaluation_set(options, options.split, options.height or height, options.width or width)


def run_evaluation(
    options: argparse.Namespace,
    candidate: Candidate,
    name: str,
    comparison: dict,
    dataset: PanoramaDataset,
    protocol: Protocol,
    device: torch.device,
) -> None:
    """Evaluate a candidate and, if requested, the baselines; write the results.

    Args:
        name: of the candidate, and of the folder of its results.
        comparison: of its meaning with that of the dataset.
    """
    dataset.keeps_stored = protocol.needs_stored
    identity = identify(options, candidate.source, dataset, precision_of(device, options.amp))
    if class_map := class_map_of(options):
        dataset.classes = class_map.classes  # from here on, those of all labels and predictions
    root = Path(options.log_dir) / name / options.task
    folder = EvaluationFolder(root, identity, FOLDERS, options.overwrite)
    with folder.open():
        if is_main():
            print(describe(dataset, options), *comparison["notes"], sep="\n")
        loaded = evaluation_batches(dataset, loading_settings(options), device)
        batches = evaluated_batches(loaded, options, class_map, dataset.normal_frame, protocol.region)
        evaluation = Evaluation(candidate, dataset, batches, protocol, device)
        summary = evaluate_candidate(options, evaluation, folder.run)
        report_bad_samples(loaded)
        summary |= describe_evaluation(options, name, candidate.source, dataset, len(evaluation.rows), protocol)
        write_all(options, evaluation, summary | {IDENTITY: identity, **comparison}, folder.run)
    if is_main():
        print(f"written to {root}")


@dataclass
class Evaluation:
    """What is evaluated on what, and what is found.

    Attributes:
        batches: of the dataset, in the region and the classes that are evaluated.
        evaluator, baselines, gallery, rows: set by `evaluate_candidate`; the gallery is None without --report.
    """

    candidate: Candidate
    dataset: PanoramaDataset
    batches: Iterable[dict]
    protocol: Protocol
    device: torch.device
    evaluator: Evaluator | None = None
    baselines: Baselines | None = None
    gallery: Gallery | None = None
    rows: list[dict] = field(default_factory=list)

    def predicted(self, predict: BatchPredictor) -> PredictedBatches:
        """Each batch and its predictions."""
        progress = tqdm(self.batches, desc="evaluating", unit="batch", disable=not is_main(), dynamic_ncols=True)
        return PredictedBatches(progress, predict, self.protocol.at_truth_size)

    def build_evaluator(self, with_breakdown: bool = False) -> Evaluator:
        """A new evaluator of the tasks."""
        tasks, num_classes = self.dataset.tasks, len(self.dataset.classes)
        return build_evaluator(tasks, num_classes, self.device, with_breakdown, self.protocol)


def evaluate_candidate(options: argparse.Namespace, evaluation: Evaluation, run: RunFolder) -> dict:
    """Evaluate a candidate and its baselines, and draw images.

    Returns:
        The metrics of all predictors, as entries of results.json.
    """
    candidate, dataset = evaluation.candidate, evaluation.dataset
    tasks, settings = dataset.tasks, display_settings_of(dataset)
    shown_settings = settings._replace(
        depth_unit=candidate.source.settings.depth_unit, normal_frame=candidate.source.settings.normal_frame
    )
    displays = {task: DISPLAYS[task] for task in tasks}
    draw = panel_writer(run.image, displays, shown_settings, candidate.source.epoch, options.log_frequency)
    evaluation.gallery = Gallery(tasks, settings) if options.report else None
    evaluation.evaluator = evaluation.build_evaluator(options.report)
    evaluation.baselines = build_baselines(
        tasks, len(dataset.classes), dataset.height, dataset.width, dataset.normal_frame, evaluation.protocol
    )

    def show(number: int, batch: dict, predictions: dict) -> None:
        draw(number, batch, predictions)
        if evaluation.gallery:
            evaluation.gallery.add(batch, predictions, evaluation.evaluator.rows[-len(batch["id"]) :])
        if options.trivial:
            evaluation.baselines.fit(batch)

    predicted = evaluation.predicted(candidate.predict)
    results, evaluation.rows = evaluate_predictions(predicted, evaluation.evaluator, on_batch=show)
    all_results, more = {"results": results}, {}
    if candidate.plain:
        predicted = evaluation.predicted(candidate.plain)
        all_results["plain"], _ = evaluate_predictions(predicted, evaluation.build_evaluator())
    if options.trivial:
        evaluation.baselines.evaluate(evaluation.batches, evaluation.device, with_breakdowns=options.report)
        all_results |= evaluation.baselines.results()
        more = {"baselines": evaluation.baselines.describe()}
    if options.cost and is_main():
        size = dataset.height, dataset.width
        more["cost"] = measure_cost(candidate.source, candidate.predict, *size, evaluation.device)
    return {
        **{name: {task: complete(task, values) for task, values in part.items()} for name, part in all_results.items()},
        **more,
    }


def write_all(options: argparse.Namespace, evaluation: Evaluation, summary: dict, run: RunFolder) -> None:
    """Write the results and, if requested, the report."""
    if is_main():
        write_results(run, summary, evaluation.rows)
    if not options.report:
        return
    from reports.page import Report, write_report  # needs packages that are optional without --report

    breakdowns, shown = evaluation.evaluator.breakdowns(), evaluation.gallery.join()
    if is_main():
        settings = display_settings_of(evaluation.dataset)
        report = Report(summary, evaluation.rows, breakdowns, evaluation.baselines.breakdowns, shown, settings)
        write_report(run.root / "report.html", report)


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
