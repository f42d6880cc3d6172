"""Evaluate a checkpoint of DeepLab or VMM, ours or the one of Yun & Cho (ICCV 2023), on perspective images.

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

from datasets.joint import join
from datasets.perspective import PerspectiveDataset
from networks.achievement_checkpoint import AchievementCheckpoint, load_achievement_checkpoint
from networks.saved_network import find_checkpoint
from options.perspective import describe, evaluation_sets, run_folder_of, tasks_of, validation_sets
from reports.evaluation import require_same_checkpoint
from reports.perspective import describe_evaluation, write_results
from reports.perspective_evaluation import evaluate_datasets
from tasks.meaning import compare_meaning, display_settings_of
from tasks.perspective import PERSPECTIVE_FOLDERS
from training.evaluation_folder import IDENTITY, EvaluationFolder
from training.setup import precision_of, prepare_device, prepare_network
from utils.distributed import is_main, process_group


def main(options: argparse.Namespace) -> None:
    """Evaluate with the options of the command line."""
    prepare_device(tf32=not options.no_tf32)
    with process_group(options.gpu_devices, options.device) as device:
        checkpoint = load_achievement_checkpoint(find_checkpoint(options.ckpt))
        require_same_checkpoint(checkpoint)
        evaluate(options, checkpoint, evaluation_sets(options, options.split, options.size), device)


def evaluate(
    options: argparse.Namespace,
    checkpoint: AchievementCheckpoint,
    datasets: list[PerspectiveDataset],
    device: torch.device,
) -> None:
    """Evaluate the network of a checkpoint on each dataset and write the results."""
    dataset = join(datasets)
    names = tuple(options.app)
    checkpoint.require(options.basenet, names, len(dataset.classes))
    comparison = compare_meaning(checkpoint, display_settings_of(dataset), names, options.allow_mismatch)
    network = checkpoint.build_network().to(device).eval()
    prepare_network(network, options.channels_last, options.compile)
    facts = {
        "checkpoint sha256": checkpoint.sha256,
        "--app": " ".join(names),
        "--test_dataset": options.test_dataset,
        "--split": options.split,
        "samples (--dataset_root)": dataset.fingerprint(),
        "--size": f"{dataset.height} {dataset.width}",
        "precision (--no_tf32, --device)": precision_of(device),
    }
    identity = facts | {f"data: {name}": value for name, value in dataset.describe_source().items()}
    root = run_folder_of(options) / f"evaluation_{options.split}"
    folder = EvaluationFolder(root, identity, PERSPECTIVE_FOLDERS, options.overwrite)
    with folder.open():
        if is_main():
            print(*map(describe, datasets), *comparison["notes"], sep="\n")
        with_coco = any(one.name == "COCO" for one in datasets)
        tasks = tasks_of(options, checkpoint.settings.cls_head, with_coco)
        sets = zip(datasets, validation_sets(options, datasets, tasks, device), strict=True)
        results, rows = evaluate_datasets(network, checkpoint, [*sets], tasks, folder.run, options.log_frequency)
        if is_main():
            summary = describe_evaluation(results, checkpoint, dataset, rows) | {IDENTITY: identity, **comparison}
            write_results(folder.run, summary, rows)


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
