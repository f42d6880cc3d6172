"""Train DeepLab or VMM on perspective images as in Yun & Cho (ICCV 2023), on GPUs or the CPU.

One process:   python train_achievement.py cfg/seg+depth+normal/NYU_MT/DeepLabV3_ResNet50.cfg --dataset_root ./NYUD_MT
Two GPUs:      torchrun --nproc_per_node 2 train_achievement.py ...

Writes under <root_folder>/<network>_<data>_<size>/<subfolder>/, see docs/achievement.md.
"""

from options.achievement import BALANCING_RULES, FIXED_ON_RESUME, FREE_ON_RESUME, parse_training
from utils.errors import exit_on_user_error

if __name__ == "__main__":
    with exit_on_user_error():
        OPTIONS = parse_training()  # before importing torch, so that --help and wrong flags respond at once

import argparse

import torch

from datasets.loading import training_batches
from losses.balancing import build_balancing
from metrics.summary import summary_score
from options.balancing import balancing_settings, check_balancing
from options.groups import check_backbone_weights
from options.perspective import (
    describe,
    effective_rate,
    evaluation_sets,
    initial_network,
    loading_settings,
    loop_settings,
    model_settings,
    optimization_settings,
    require_same_classes,
    run_folder_of,
    tasks_of,
    training_set,
    validation_sets,
)
from tasks.build import build_objective
from tasks.epoch_end import Validation
from tasks.fitting import Plan, launch, train_network
from tasks.perspective import PERSPECTIVE_FOLDERS
from tasks.teachers import load_teachers
from training.run import RunOptions, TrainingRun
from training.run_folder import RunFolder
from training.setup import AMP_TYPES, prepare_device, prepare_network, seed_generators
from training.stop import StopRequest
from utils.distributed import is_main, rank


def main(options: argparse.Namespace) -> None:
    """Train with the options of the command line."""
    check_backbone_weights(options, "ckpt")
    launch(train, options)


def train(options: argparse.Namespace, device: torch.device, stop: StopRequest) -> bool:
    """Train and validate.

    Returns:
        True if training was aborted because of non-finite losses.
    """
    tasks = tasks_of(options)
    loss_weights = {name: task.loss_weight for name, task in tasks.items()}
    chosen_balancing = balancing_settings(options, loss_weights, BALANCING_RULES)
    balancing = build_balancing(tasks=tuple(tasks), **chosen_balancing)
    check_balancing(options, balancing, BALANCING_RULES)
    folder = RunFolder(run_folder_of(options), PERSPECTIVE_FOLDERS)
    run = TrainingRun(folder, RunOptions(vars(options), FIXED_ON_RESUME, FREE_ON_RESUME))
    prepare_device(options.deterministic, tf32=not options.no_tf32)
    seed_generators(options.seed + rank())  # DDP broadcasts the initial weights

    train_set, val_sets = training_set(options), evaluation_sets(options, options.val_split, options.size)
    settings = model_settings(options, train_set)
    require_same_classes(val_sets, settings, options)
    teachers = load_teachers(options.teacher or [], settings, device)
    if is_main():
        print(*map(describe, (train_set, *val_sets)), sep="\n")
        print(f"training on {device}, with a learning rate of {effective_rate(options):g}")
    train_batches = training_batches(train_set, loading_settings(options), options.seed, device)
    facts = {
        "training samples (--dataset_root)": train_set.fingerprint(),
        "validation samples (--dataset_root)": ", ".join(dataset.fingerprint() for dataset in val_sets),
        "teachers (--teacher)": teachers.hashes,
        "balancing (--potential_from)": chosen_balancing,
        "meaning of the predictions (--train_dataset)": settings.as_dict(),
    }
    run.check_unchanged(facts)
    if run.is_complete():
        return False

    network = initial_network(options, settings, run.resumed)
    objective = build_objective(network, balancing, AMP_TYPES[options.amp], tasks, teachers.networks)
    prepare_network(objective.network, options.channels_last, options.compile)
    loop = loop_settings(options)
    validation = Validation(
        tasks=tasks,
        sets=validation_sets(options, val_sets, tasks, device, in_training=True),
        draw_every=options.log_frequency,
        keep_every=options.save_frequency,
        last=options.num_epochs,
        first=options.warmup_epoch,
        every=options.test_freq,
        summary=summary_score,
    )
    optimization = optimization_settings(options, loop.steps_per_epoch(len(train_batches)))
    plan = Plan(chosen_balancing, optimization, loop, validation, log_every=options.log_frequency)
    return train_network(objective, settings, train_batches, plan, run, device, stop)


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
