"""Evaluate a checkpoint of Elite360M, of this program or the released one, on a dataset.

    python eval_elite360m.py --load_weights_dir ./workdirs/Synthetic --log_dir ./test_uni/Synthetic --dataset Synthetic

With --tta N the metrics are those of the average over N views; those of the plain network are added.
Writes under <log_dir>/<backbone>/<task>/: result.txt per task, results.json, per_image.csv, images, and with
--report an HTML report, report.html. Nothing is written before the evaluation is complete.
"""

from options.elite360m import PAPER_BACKBONE, check_size, eval_parser

if __name__ == "__main__":
    OPTIONS = eval_parser().parse_args()  # before importing torch, so that --help and wrong flags respond at once

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from datasets.loading import evaluation_batches, report_bad_samples
from datasets.panorama import PanoramaDataset
from metrics.evaluator import evaluate
from networks.backbones import DEFAULT, folder_of
from networks.checkpoint import Checkpoint, open_checkpoint
from options.data import describe, evaluation_set, loading_settings
from options.evaluation import identify
from prediction.predictor import Predictor, predictor_of
from prediction.tta import ViewAverage
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
from visual.displays import DisplaySettings
from visual.panels import panel_writer


def main(options: argparse.Namespace) -> None:
    """Evaluate with the options of the command line."""
    if options.report:
        require_packages()
    check_size(options.height, options.width)
    prepare_device(tf32=not options.no_tf32)
    with process_group(options.gpu_devices, options.device) as device:
        run_path = Path(options.task) / folder_of(options.backbone or PAPER_BACKBONE)
        checkpoint = open_checkpoint(options.load_weights_dir, run_path)
        is_default = options.load_weights_dir == DEFAULT
        options.backbone = options.backbone or (checkpoint.settings.backbone if is_default else PAPER_BACKBONE)
        if len(set(gather_objects(checkpoint.sha256))) > 1:
            raise UserError(f"{checkpoint.path} was replaced while the processes read it: evaluate a copy of it")
        settings = checkpoint.settings
        height, width = options.height or settings.height, options.width or settings.width
        dataset = evaluation_set(options, options.split, height, width)
        run_evaluation(options, checkpoint, dataset, device)


def run_evaluation(
    options: argparse.Namespace, checkpoint: Checkpoint, dataset: PanoramaDataset, device: torch.device
) -> None:
    """Evaluate the network of a checkpoint and, if requested, the baselines; write the results."""
    tasks = parse_tasks(options.task)
    checkpoint.require(backbone=options.backbone, tasks=tasks, num_classes=len(dataset.classes))
    comparison = compare_meaning(checkpoint, display_settings_of(dataset), tasks, options.allow_mismatch)
    network = checkpoint.build_network().to(device).eval()
    predictor = predictor_of(network, options.amp, options.compile, options.channels_last)
    root = Path(options.log_dir) / folder_of(options.backbone) / options.task
    identity = identify(options, checkpoint, dataset, precision_of(device, options.amp))
    folder = EvaluationFolder(root, identity, FOLDERS, options.overwrite)
    with folder.open():
        if is_main():
            print(describe(dataset, options), *comparison["notes"], sep="\n")
        origin = {IDENTITY: identity, **comparison}
        evaluate_predictor(options, checkpoint, predictor, dataset, device, folder.run, origin)
    if is_main():
        print(f"written to {root}")


def evaluate_predictor(
    options: argparse.Namespace,
    checkpoint: Checkpoint,
    predictor: Predictor,
    dataset: PanoramaDataset,
    device: torch.device,
    run: RunFolder,
    origin: dict,
) -> None:
    """Evaluate the network of a checkpoint and its baselines; write the results.

    Args:
        predictor: the network.
        run: folder to write to.
        origin: entries of results.json about what was evaluated.
    """
    tasks, num_classes, settings = parse_tasks(options.task), len(dataset.classes), display_settings_of(dataset)
    batches = evaluation_batches(dataset, loading_settings(options), device)
    displays = {task: DISPLAYS[task] for task in tasks}
    shown_settings = DisplaySettings.of(checkpoint.settings)
    draw = panel_writer(run.image, displays, shown_settings, checkpoint.epoch, options.log_frequency)
    gallery = Gallery(tasks, settings) if options.report else None
    evaluator = build_evaluator(tasks, num_classes, device, with_breakdown=options.report)
    baselines = build_baselines(tasks, num_classes, dataset.height, dataset.width, dataset.normal_frame)

    def show(number: int, batch: dict, predictions: dict) -> None:
        draw(number, batch, predictions)
        if gallery:
            gallery.add(batch, predictions, evaluator.rows[-len(batch["id"]) :])
        if options.trivial:
            baselines.fit(batch)

    averaging = ViewAverage(predictor, options.tta, checkpoint.settings.normal_frame)
    progress = tqdm(batches, desc="evaluating", unit="batch", disable=not is_main(), dynamic_ncols=True)
    results, rows = evaluate(averaging, progress, evaluator, on_batch=show)
    all_results = {"results": results}
    if options.tta > 1:
        all_results["plain"], _ = evaluate(predictor, batches, build_evaluator(tasks, num_classes, device))
    if options.trivial:
        baselines.evaluate(batches, device, with_breakdowns=options.report)
        all_results |= baselines.results()
        origin = {**origin, "baselines": baselines.describe()}

    report_bad_samples(batches)
    summary = {
        **{name: {task: complete(task, values) for task, values in part.items()} for name, part in all_results.items()},
        **describe_evaluation(options, checkpoint, dataset, rows),
        **origin,
    }
    if is_main():
        write_results(run, summary, rows)
    if options.report:
        from reports.page import Report, write_report  # needs packages that are optional without --report

        breakdowns, shown = evaluator.breakdowns(), gallery.join()
        if is_main():
            report = Report(summary, rows, breakdowns, baselines.breakdowns, shown, settings)
            write_report(run.root / "report.html", report)


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
