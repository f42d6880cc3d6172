"""Train Elite360M with one or several processes, on GPUs or the CPU.

One process:   python train_elite360m.py --dataset Synthetic --log_dir ./workdirs/Synthetic
Two GPUs:      torchrun --nproc_per_node 2 train_elite360m.py --dataset Synthetic --log_dir ./workdirs/Synthetic

Writes under <log_dir>/<task>/<backbone>/, see docs/train.md.
"""

from options.elite360m import BALANCING_RULES, FIXED_ON_RESUME, FREE_ON_RESUME, check_network, check_size, train_parser

if __name__ == "__main__":
    OPTIONS = train_parser().parse_args()  # before importing torch, so that --help and wrong flags respond at once

import argparse
from functools import partial
from pathlib import Path

import torch

from datasets.loading import evaluation_batches, training_batches
from datasets.panorama import PanoramaDataset
from losses.balancing import build_balancing
from networks.backbones import folder_of
from networks.ops.recompute import recompute_everywhere
from options.balancing import balancing_settings, check_balancing
from options.data import describe, loading_settings, training_set, validation_set
from options.groups import check_backbone_weights
from options.training import initial_objective, loop_settings, model_settings, optimization_settings
from tasks import FOLDERS, TASKS, build_evaluator
from tasks.build import loss_weights
from tasks.epoch_end import Validation, ValidationSet
from tasks.fitting import Plan, launch, train_network
from training.run import RunOptions, TrainingRun
from training.run_folder import RunFolder
from training.setup import prepare_device, prepare_network, seed_generators
from training.stop import StopRequest
from utils.distributed import is_distributed, is_main, rank
from utils.errors import exit_on_user_error
from utils.tasks import parse_tasks


def main(options: argparse.Namespace) -> None:
    """Train with the options of the command line."""
    check_size(options.height, options.width)
    check_network(options)
    check_backbone_weights(options, "load_weights_dir")
    launch(train, options)


def train(options: argparse.Namespace, device: torch.device, stop: StopRequest) -> bool:
    """Train and validate.

    Returns:
        True if training was aborted because of non-finite losses.
    """
    tasks = parse_tasks(options.task)
    chosen_balancing = balancing_settings(options, loss_weights(tasks), BALANCING_RULES)
    balancing = build_balancing(tasks=tasks, **chosen_balancing)
    check_balancing(options, balancing, BALANCING_RULES)
    folder = RunFolder(Path(options.log_dir) / options.task / folder_of(options.backbone), FOLDERS)
    run = TrainingRun(folder, RunOptions(vars(options), FIXED_ON_RESUME, FREE_ON_RESUME))
    prepare_device(options.deterministic, tf32=not options.no_tf32)
    recompute_everywhere(options.recompute)
    seed_generators(options.seed + rank())  # DDP broadcasts the initial weights

    train_set = training_set(options)
    val_set = validation_set(options)
    announce(train_set, val_set, options, device)
    train_batches = training_batches(train_set, loading_settings(options), options.seed, device)
    val_batches = evaluation_batches(val_set, loading_settings(options), device, in_training=True)
    settings = model_settings(options, tasks, train_set)
    facts = {
        "training samples (--dataset_rootdir, --train_list)": train_set.fingerprint(),
        "validation samples (--dataset_rootdir, --val_list)": val_set.fingerprint(),
        "balancing (--potential_from)": chosen_balancing,
        "meaning of the predictions (--dataset)": settings.as_dict(),
    }
    run.check_unchanged(facts)
    if run.is_complete():
        return False

    objective = initial_objective(options, settings, balancing, run.resumed)
    prepare_network(objective.network, options.channels_last, options.compile)
    loop = loop_settings(options)
    validation = Validation(
        tasks={task: TASKS[task] for task in tasks},
        sets=(ValidationSet(val_batches, partial(build_evaluator, tasks, len(settings.class_names), device)),),
        draw_every=options.log_frequency,
        keep_every=options.save_frequency,
        last=options.num_epochs,
    )
    optimization = optimization_settings(options, loop.steps_per_epoch(len(train_batches)))
    plan = Plan(chosen_balancing, optimization, loop, validation, log_every=options.log_frequency)
    return train_network(objective, settings, train_batches, plan, run, device, stop)


def announce(
    train_set: PanoramaDataset, val_set: PanoramaDataset, options: argparse.Namespace, device: torch.device
) -> None:
    """Print the datasets, the device and, if it applies, how BatchNorm works."""
    if not is_main():
        return
    print(describe(train_set, options), describe(val_set, options), f"training on {device}", sep="\n")
    if is_distributed() and device.type == "cpu":
        print("BatchNorm: each process normalizes its own batch; running statistics are those of the main process")


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
