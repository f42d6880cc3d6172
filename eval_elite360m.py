"""Evaluate a checkpoint of Elite360M, ours or the released program's, on a dataset.

    python eval_elite360m.py --load_weights_dir ./workdirs/Synthetic --log_dir ./test_uni/Synthetic --dataset Synthetic

With --tta N the figures are those of the average over N views, and those of the plain network stand beside them.
Writes under <log_dir>/<backbone>/<task>/: result.txt per task, results.json, per_image.csv, pictures, and with
--report a page that shows them, report.html.
"""

from utils.options import check_size, eval_parser

if __name__ == "__main__":
    OPTIONS = eval_parser().parse_args()  # before torch is imported: --help and wrong flags are answered at once

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from datasets.panorama import PanoramaDataset
from metrics.evaluator import PROTOCOL, Evaluator, evaluate
from metrics.trivial import TrivialPredictor
from networks.backbones import folder_of
from prediction.averaging import ViewAverage
from reports.gallery import Gallery
from reports.page import Report, write_report
from tasks import TASKS
from tasks.display import Look
from utils.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from utils.distributed import is_main, process_group
from utils.errors import exit_on_user_error
from utils.files import write_text
from utils.loaders import describe, evaluation_batches, open_dataset, report_bad_samples
from utils.malloc import tune_malloc
from utils.pictures import panel_writer
from utils.run_folder import RunFolder, figures_line, provenance, sha256, write_csv, write_json
from utils.tasks import parse_tasks

_OTHERS = {"plain": "without --tta", "trivial": "trivial predictor"}  # predictors beside the one that is judged


def main(options: argparse.Namespace) -> None:
    """Evaluate as the command line says."""
    check_size(options.height, options.width)
    tune_malloc()
    with process_group(options.gpu_devices) as device:
        run_path = Path(options.task) / folder_of(options.backbone)
        checkpoint = load_checkpoint(find_checkpoint(options.load_weights_dir, run_path))
        run_evaluation(options, checkpoint, device)


def run_evaluation(options: argparse.Namespace, checkpoint: Checkpoint, device: torch.device) -> None:
    """Judge the network of a checkpoint, and the trivial predictors if asked for, and write what came out."""
    run = RunFolder(Path(options.log_dir) / folder_of(options.backbone) / options.task)
    run.root.mkdir(parents=True, exist_ok=True)  # every process finds out at once when it cannot be written
    digest = sha256(checkpoint.path)  # now: a training may replace the file while it is evaluated
    tasks = parse_tasks(options.task)
    settings = checkpoint.settings
    dataset = open_dataset(options, options.split, options.height or settings.height, options.width or settings.width)
    checkpoint.require(backbone=options.backbone, tasks=tasks, num_classes=len(dataset.classes))
    network = checkpoint.build_network().to(device).eval()
    if is_main():
        print(describe(dataset, options))
    batches = evaluation_batches(dataset, options, device)
    draw = panel_writer(run, replace(settings, tasks=tasks), checkpoint.epoch, options.log_frequency)
    look = Look(dataset.classes.names, dataset.classes.colours, dataset.depth_unit, dataset.normal_frame)
    gallery = Gallery(tasks, look) if options.report else None
    progress = tqdm(batches, desc="evaluating", unit="batch", disable=not is_main(), dynamic_ncols=True)
    evaluator = Evaluator(tasks, len(dataset.classes), device, with_breakdown=options.report)

    def show(number: int, batch: dict, predictions: dict) -> None:
        draw(number, batch, predictions)
        if gallery:
            gallery.add(batch, predictions, evaluator.rows[-len(batch["id"]) :])

    predictor = ViewAverage(network, options.tta, settings.normal_frame)
    results, rows = evaluate(predictor, progress, evaluator, on_batch=show)

    others = {}  # what the results are to be compared with
    if options.tta > 1:
        others["plain"] = network
    if options.trivial:
        constants = {task: TASKS[task].constant(len(dataset.classes)) for task in tasks}
        others["trivial"] = TrivialPredictor(constants).fit(batches)
    evaluators = {name: Evaluator(tasks, len(dataset.classes), device, options.report) for name in others}
    others_results = {name: evaluate(other, batches, evaluators[name])[0] for name, other in others.items()}

    report_bad_samples(batches)
    if is_main():
        summary = write_results(run, checkpoint, digest, dataset, options, results, others_results, rows)
    if options.report:
        breakdowns, shown = evaluator.breakdowns(), gallery.join()
        trivial_breakdowns = evaluators["trivial"].breakdowns() if options.trivial else {}
        if is_main():
            page = Report(summary, rows, breakdowns, trivial_breakdowns, shown, look)
            write_report(run.root / "report.html", page)
    if is_main():
        print(f"written to {run.root}")


def write_results(
    run: RunFolder,
    checkpoint: Checkpoint,
    digest: str,
    dataset: PanoramaDataset,
    options: argparse.Namespace,
    results: dict[str, dict[str, float]],
    others_results: dict[str, dict[str, dict[str, float]]],
    rows: list[dict],
) -> dict:
    """Write result.txt per task, results.json and per_image.csv, print the figures, those of others beside them.

    Returns:
        What results.json holds.
    """
    conventions = [f"# depth unit: {dataset.depth_unit}; frame of the normals: {dataset.normal_frame}"]
    for task, figures in results.items():
        print(f"{task}: {figures_line(figures)}")
        lines = [f"{name}: {value:.6f}" for name, value in figures.items()]
        for other, other_results in others_results.items():
            print(f"{task}, {_OTHERS[other]}: {figures_line(other_results[task])}")
            lines += [f"{other} {name}: {value:.6f}" for name, value in other_results[task].items()]
        comments = [f"# {PROTOCOL[task]}", f"# seam: {PROTOCOL['seam']}", *conventions]
        write_text(run.result(task), "\n".join([*comments, *lines]) + "\n")
    write_csv(run.root / "per_image.csv", rows)
    summary = {
        "results": results,
        **others_results,
        "protocol": PROTOCOL,
        "backbone": options.backbone,
        "dataset": options.dataset,
        "split": options.split,
        "tta": options.tta,
        "list": options.val_list,
        "depth_unit": dataset.depth_unit,
        "normal_frame": dataset.normal_frame,
        "num_skipped": len(dataset) - len(rows),
        "num_images": len(rows),
        "height": dataset.height,
        "width": dataset.width,
        "checkpoint": {"path": str(checkpoint.path), "sha256": digest, "epoch": checkpoint.epoch},
        **provenance(),
    }
    write_json(run.root / "results.json", summary)
    return summary


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
