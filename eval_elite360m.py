"""Evaluate a checkpoint of Elite360M, ours or the released program's, on a dataset.

    python eval_elite360m.py --load_weights_dir ./workdirs/Synthetic --log_dir ./test_uni/Synthetic --dataset Synthetic

With --tta N the figures are those of the average over N views, and those of the plain network stand beside them.
Writes under <log_dir>/<backbone>/<task>/: result.txt per task, results.json, per_image.csv, pictures, and with
--report a page that shows them, report.html. Nothing is written before the evaluation is complete.
"""

from options.elite360m import check_size, eval_parser

if __name__ == "__main__":
    OPTIONS = eval_parser().parse_args()  # before torch is imported: --help and wrong flags are answered at once

import argparse
import hashlib
import math
from pathlib import Path

import torch
from tqdm import tqdm

from datasets.loading import evaluation_batches, report_bad_samples
from datasets.panorama import PanoramaDataset
from metrics.evaluator import PROTOCOL, evaluate
from networks.backbones import folder_of
from networks.checkpoint import Checkpoint, find_checkpoint, find_mismatches, load_checkpoint
from options.data import describe, loading_settings, open_dataset
from prediction.averaging import ViewAverage
from reports import require_packages
from reports.gallery import Gallery
from tasks import DISPLAYS, FOLDERS, TASKS, build_baselines, build_evaluator
from training.evaluation_folder import IDENTITY, EvaluationFolder
from training.run_folder import RunFolder
from utils.distributed import gather_objects, is_main, process_group
from utils.errors import UserError, exit_on_user_error
from utils.files import write_csv, write_json, write_text
from utils.malloc import tune_malloc
from utils.provenance import provenance
from utils.tasks import parse_tasks
from utils.text import metrics_line
from visual.displays import DisplaySettings
from visual.panels import panel_writer

_OTHERS = ("plain", "constant", "fixed_map")  # keys in results.json of predictors beside the one that is evaluated
_REMEDIES = {
    "depth": "--dataset or --metric_depth",
    "normal": "--dataset or --normal_frame",
    "segmentation": "--dataset",
}


def main(options: argparse.Namespace) -> None:
    """Evaluate as the command line says."""
    if options.report:
        require_packages()
    check_size(options.height, options.width)
    tune_malloc()
    with process_group(options.gpu_devices) as device:
        run_path = Path(options.task) / folder_of(options.backbone)
        checkpoint = load_checkpoint(find_checkpoint(options.load_weights_dir, run_path))
        if len(set(gather_objects(checkpoint.sha256))) > 1:
            raise UserError(f"{checkpoint.path} was replaced while the processes read it: evaluate a copy of it")
        settings = checkpoint.settings
        height, width = options.height or settings.height, options.width or settings.width
        dataset = open_dataset(options, options.split, height, width)
        run_evaluation(options, checkpoint, dataset, device)


def run_evaluation(
    options: argparse.Namespace, checkpoint: Checkpoint, dataset: PanoramaDataset, device: torch.device
) -> None:
    """Evaluate the network of a checkpoint, and the baselines if asked for, and write what came out."""
    tasks = parse_tasks(options.task)
    checkpoint.require(backbone=options.backbone, tasks=tasks, num_classes=len(dataset.classes))
    comparison = compare_meaning(checkpoint, look_of(dataset), tasks, options.allow_mismatch)
    network = checkpoint.build_network().to(device).eval()
    root = Path(options.log_dir) / folder_of(options.backbone) / options.task
    identity = identify(options, checkpoint, dataset)
    folder = EvaluationFolder(root, identity, FOLDERS, options.overwrite)
    with folder.open():
        if is_main():
            print(describe(dataset, options), *comparison["notes"], sep="\n")
        origin = {IDENTITY: identity, **comparison}
        evaluate_network(options, checkpoint, network, dataset, device, folder.run, origin)
    if is_main():
        print(f"written to {root}")


def look_of(dataset: PanoramaDataset) -> DisplaySettings:
    """What the ground truth of a dataset means."""
    return DisplaySettings(dataset.classes.names, dataset.classes.colors, dataset.depth_unit, dataset.normal_frame)


def compare_meaning(checkpoint: Checkpoint, truth: DisplaySettings, tasks: tuple[str, ...], allowed: list[str]) -> dict:
    """Compare what the predictions of a checkpoint mean with what the ground truth means.

    Returns:
        ``mismatches``, by task, and ``notes``, lines about them and about what cannot be compared.

    Raises:
        UserError: when they differ for a task for which that is not allowed.
    """
    mismatches = find_mismatches(checkpoint.settings, truth, tasks)
    if refused := [task for task in mismatches if task not in allowed]:
        task = refused[0]
        raise UserError(
            f"{checkpoint.path}: {mismatches[task]}: correct {_REMEDIES[task]}, or pass --allow_mismatch "
            f"{' '.join(refused)} to evaluate all the same"
        )
    notes = [f"mismatch: {mismatch}" for mismatch in mismatches.values()]
    if not checkpoint.settings.meaning_is_known:
        notes.append(
            "these weights do not say what their predictions mean: unit of depth, frame of normals and names of "
            "classes are not compared with those of the ground truth"
        )
    return {"mismatches": {task: mismatch._asdict() for task, mismatch in mismatches.items()}, "notes": notes}


def identify(options: argparse.Namespace, checkpoint: Checkpoint, dataset: PanoramaDataset) -> dict:
    """What the metrics of an evaluation depend on, as plain values."""
    return {
        "checkpoint sha256": checkpoint.sha256,
        "--task": options.task,
        "--dataset": options.dataset,
        "--dataset_rootdir": str(Path(options.dataset_rootdir).resolve()) if options.dataset_rootdir else None,
        "--split": options.split,
        "--val_list sha256": hashlib.sha256(Path(options.val_list).read_bytes()).hexdigest()
        if options.val_list
        else None,
        "number of panoramas": len(dataset),
        "--height": dataset.height,
        "--width": dataset.width,
        "--tta": options.tta,
        "unit of depth": dataset.depth_unit,
        "frame of the normals": dataset.normal_frame,
    }


def evaluate_network(
    options: argparse.Namespace,
    checkpoint: Checkpoint,
    network: torch.nn.Module,
    dataset: PanoramaDataset,
    device: torch.device,
    run: RunFolder,
    origin: dict,
) -> None:
    """Evaluate a network and those that it is compared with; write the results.

    Args:
        network: of the checkpoint, on the device.
        run: where to write to.
        origin: what the results shall say about what was evaluated.
    """
    tasks, num_classes, look = parse_tasks(options.task), len(dataset.classes), look_of(dataset)
    batches = evaluation_batches(dataset, loading_settings(options), device)
    displays = {task: DISPLAYS[task] for task in tasks}
    shown_settings = DisplaySettings.of(checkpoint.settings)
    draw = panel_writer(run.picture, displays, shown_settings, checkpoint.epoch, options.log_frequency)
    gallery = Gallery(tasks, look) if options.report else None
    evaluator = build_evaluator(tasks, num_classes, device, with_breakdown=options.report)
    baselines = build_baselines(tasks, num_classes, dataset.height, dataset.width, dataset.normal_frame)

    def show(number: int, batch: dict, predictions: dict) -> None:
        draw(number, batch, predictions)
        if gallery:
            gallery.add(batch, predictions, evaluator.rows[-len(batch["id"]) :])
        if options.trivial:
            baselines.fit(batch)

    predictor = ViewAverage(network, options.tta, checkpoint.settings.normal_frame)
    progress = tqdm(batches, desc="evaluating", unit="batch", disable=not is_main(), dynamic_ncols=True)
    results, rows = evaluate(predictor, progress, evaluator, on_batch=show)
    all_results = {"results": results}
    if options.tta > 1:
        all_results["plain"], _ = evaluate(network, batches, build_evaluator(tasks, num_classes, device))
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
        from reports.page import Report, write_report  # needs packages that evaluations without a page do not

        breakdowns, shown = evaluator.breakdowns(), gallery.join()
        if is_main():
            write_report(run.root / "report.html", Report(summary, rows, breakdowns, baselines.breakdowns, shown, look))


def complete(task: str, values: dict[str, float]) -> dict[str, float | None]:
    """The metrics of a task, None for all that there are none of: no panorama has ground truth for it."""
    return {**dict.fromkeys(TASKS[task].metric.metric_names), **values}


def describe_evaluation(
    options: argparse.Namespace, checkpoint: Checkpoint, dataset: PanoramaDataset, rows: list[dict]
) -> dict:
    """What results.json says beside the metrics."""
    return {
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
        "checkpoint": {
            "path": str(checkpoint.path),
            "sha256": checkpoint.sha256,
            "epoch": checkpoint.epoch,
            "dataset": checkpoint.settings.dataset,
        },
        **provenance(),
    }


def write_results(run: RunFolder, summary: dict, rows: list[dict]) -> None:
    """Write result.txt per task, results.json and per_image.csv; print the metrics, those of others beside them."""
    comments = [
        f"# seam: {PROTOCOL['seam']}",
        f"# depth unit: {summary['depth_unit']}; frame of the normals: {summary['normal_frame']}",
        *(f"# {note}" for note in summary["notes"]),
    ]
    for task, values in summary["results"].items():
        lines = [f"# {PROTOCOL[task]}", *comments]
        if not has_truth(values):
            note = f"{task}: no panorama has ground truth, so there are no metrics but the seam score"
            print(note)
            lines.append(f"# {note}")
        titles = ("", ", without --tta", ", best constant of each metric", f", {TASKS[task].fixed_map.title}")
        for name, title in zip(("results", *_OTHERS), titles, strict=True):
            known = {key: x for key, x in summary.get(name, {}).get(task, {}).items() if x is not None}
            if known:
                print(f"{task}{title}: {metrics_line(known)}")
            lines += [f"{'' if name == 'results' else name + ' '}{key}: {x:.6f}" for key, x in known.items()]
        write_text(run.result(task), "\n".join(lines) + "\n")
    write_csv(run.root / "per_image.csv", [{key: _cell(value) for key, value in row.items()} for row in rows])
    write_json(run.root / "results.json", summary)


def has_truth(values: dict[str, float | None]) -> bool:
    """Whether there is any metric of a task but the seam score, which needs no ground truth."""
    return any(value is not None for name, value in values.items() if name != "seam")


def _cell(value: object) -> object:
    """A value in a table; one that is not finite leaves its cell empty."""
    return "" if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
