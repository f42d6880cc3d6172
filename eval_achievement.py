"""Evaluate a checkpoint of DeepLab or VMM, of this program or the one of Yun & Cho (ICCV 2023), on perspective images.

    python eval_achievement.py cfg/seg+depth+normal/NYU_MT/DeepLabV3_ResNet50.cfg --ckpt FILE --dataset_root ./NYUD_MT

Writes under <root_folder>/<network>_<data>_<size>/<subfolder>/evaluation_<split>/: result.txt per task, results.json,
per_image.csv and images. Nothing is written before the evaluation is complete.
"""

from options.achievement import parse_evaluation
from utils.errors import exit_on_user_error

if __name__ == "__main__":
    with exit_on_user_error():
        OPTIONS = parse_evaluation()  # before importing torch, so that --help and wrong flags respond at once

import argparse

import torch
from tqdm import tqdm

from datasets.joint import join
from datasets.loading import evaluation_batches, report_bad_samples
from datasets.perspective import PerspectiveDataset
from metrics.evaluator import evaluate
from networks.achievement_checkpoint import AchievementCheckpoint, load_achievement_checkpoint
from networks.saved_network import find_checkpoint
from options.perspective import describe, evaluation_sets, loading_settings, run_folder_of, tasks_of
from reports.perspective import describe_evaluation, write_results
from tasks.meaning import compare_meaning, display_settings_of
from tasks.perspective import PERSPECTIVE_FOLDERS, build_evaluator, tasks_with_labels
from training.evaluation_folder import IDENTITY, EvaluationFolder
from training.run_folder import RunFolder
from training.setup import precision_of, prepare_device, prepare_network
from utils.distributed import gather_objects, is_main, process_group
from utils.errors import UserError
from utils.malloc import tune_malloc
from visual.displays import DisplaySettings
from visual.panels import panel_writer


def main(options: argparse.Namespace) -> None:
    """Evaluate with the options of the command line."""
    tune_malloc()
    prepare_device(tf32=not options.no_tf32)
    with process_group(options.gpu_devices, options.device) as device:
        checkpoint = load_achievement_checkpoint(find_checkpoint(options.ckpt))
        if len(set(gather_objects(checkpoint.sha256))) > 1:
            raise UserError(f"{checkpoint.path} was replaced while the processes read it: evaluate a copy of it")
        run_evaluation(options, checkpoint, evaluation_sets(options, options.split, options.size), device)


def run_evaluation(
    options: argparse.Namespace,
    checkpoint: AchievementCheckpoint,
    datasets: list[PerspectiveDataset],
    device: torch.device,
) -> None:
    """Evaluate the network of a checkpoint on each dataset and write the results."""
    dataset = join(datasets)
    tasks = tuple(options.app)
    checkpoint.require(options.basenet, tasks, len(dataset.classes))
    comparison = compare_meaning(checkpoint, display_settings_of(dataset), tasks, options.allow_mismatch)
    network = checkpoint.build_network().to(device).eval()
    prepare_network(network, options.channels_last, options.compile)
    root = run_folder_of(options) / f"evaluation_{options.split}"
    facts = {
        "checkpoint sha256": checkpoint.sha256,
        "--app": " ".join(tasks),
        "--test_dataset": options.test_dataset,
        "--split": options.split,
        "samples (--dataset_root)": dataset.fingerprint(),
        "--size": f"{dataset.height} {dataset.width}",
        "precision (--no_tf32, --device)": precision_of(device),
    }
    identity = facts | {f"data: {name}": value for name, value in dataset.describe_source().items()}
    folder = EvaluationFolder(root, identity, PERSPECTIVE_FOLDERS, options.overwrite)
    with folder.open():
        if is_main():
            print(*map(describe, datasets), *comparison["notes"], sep="\n")
        origin = {IDENTITY: identity, **comparison}
        results, rows = evaluate_network(options, checkpoint, network, datasets, device, folder.run)
        if is_main():
            write_results(folder.run, describe_evaluation(results, checkpoint, dataset, rows) | origin, rows)
    if is_main():
        print(f"written to {root}")


def evaluate_network(
    options: argparse.Namespace,
    checkpoint: AchievementCheckpoint,
    network: torch.nn.Module,
    datasets: list[PerspectiveDataset],
    device: torch.device,
    run: RunFolder,
) -> tuple[dict[str, dict[str, float]], list[dict]]:
    """Evaluate a network, of the checkpoint and on the device, on each dataset for the tasks that it has labels of.

    Images are drawn into the folder `run`.

    Returns:
        Metrics per task, in the order of --app, and those of each image, counted through all datasets.
    """
    with_coco = any(dataset.name == "COCO" for dataset in datasets)
    all_tasks = tasks_of(options, checkpoint.settings.cls_head, with_coco)
    shown_settings = DisplaySettings.of(checkpoint.settings)
    results, rows, first = {}, [], 0
    for dataset in datasets:
        tasks = tasks_with_labels(all_tasks, dataset)
        batches = evaluation_batches(dataset, loading_settings(options), device)
        displays = {name: task.display for name, task in tasks.items()}
        draw = panel_writer(run.image, displays, shown_settings, checkpoint.epoch, options.log_frequency)
        evaluator = build_evaluator(tasks, len(dataset.classes), device)
        progress = tqdm(batches, desc="evaluating", unit="batch", disable=not is_main(), dynamic_ncols=True)
        of_tasks, of_images = evaluate(network, progress, evaluator, on_batch=draw)
        report_bad_samples(batches)
        results |= of_tasks
        rows += [row | {"index": first + row["index"]} for row in of_images]
        first += len(dataset)
    return {task: results[task] for task in all_tasks}, rows


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
