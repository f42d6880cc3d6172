"""Train Elite360M on one process or several, on GPUs or the CPU.

Alone:         python train_elite360m.py --dataset Synthetic --log_dir ./workdirs/Synthetic
On two GPUs:   torchrun --nproc_per_node 2 train_elite360m.py --dataset Synthetic --log_dir ./workdirs/Synthetic

Writes under <log_dir>/<task>/<backbone>/; the README says what.
"""

from utils.options import check_size, train_parser

if __name__ == "__main__":
    OPTIONS = train_parser().parse_args()  # before torch is imported: --help and wrong flags are answered at once

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from losses.multitask import TrainingObjective
from metrics.evaluator import Evaluator, evaluate
from utils.checkpoint import ModelSettings, find_checkpoint, load_checkpoint, load_state, save_checkpoint
from utils.distributed import barrier, is_main, parallelise, process_group, rank, share_buffers
from utils.errors import UserError, exit_on_user_error
from utils.loaders import (
    Batches,
    describe,
    evaluation_batches,
    open_dataset,
    report_bad_samples,
    training_batches,
)
from utils.pictures import panel_writer
from utils.run_folder import RunFolder, provenance, write_json
from utils.schedule import build_scheduler
from utils.tasks import TASKS, join_tasks, parse_tasks
from utils.training_log import TrainingLog


def main(options: argparse.Namespace) -> None:
    """Train as the command line says."""
    check_size(options.height, options.width)
    with process_group(options.gpu_devices) as device:
        train(options, device)


def train(options: argparse.Namespace, device: torch.device) -> None:
    """Build everything, then train and validate epoch by epoch."""
    run = RunFolder(Path(options.log_dir) / options.task / options.backbone)
    run.root.mkdir(parents=True, exist_ok=True)  # every process finds out at once when it cannot be written
    torch.manual_seed(options.seed + rank())  # every process augments differently; DDP makes the weights equal

    train_set = open_dataset(options, "train", options.height, options.width)
    val_set = open_dataset(options, options.val_split, options.height, options.width)
    if is_main():
        print(describe(train_set, options), describe(val_set, options), sep="\n")
    train_batches = training_batches(train_set, options, device)
    val_batches = evaluation_batches(val_set, options, device)

    settings = ModelSettings(
        backbone=options.backbone,
        tasks=parse_tasks(options.task),
        ico_level=options.ico_level,
        height=options.height,
        width=options.width,
        dataset=options.dataset,
        class_names=train_set.classes.names,
        class_colours=train_set.classes.colours,
        depth_unit=train_set.depth_unit,
        normal_frame=train_set.normal_frame,
    )
    objective = build_objective(settings, options)
    parallel_objective = parallelise(objective, device)
    optimizer = torch.optim.Adam(parallel_objective.parameters(), lr=options.learning_rate, fused=True)
    scheduler = build_scheduler(optimizer, options.lr_schedule, num_steps=options.num_epochs * len(train_batches))

    log = TrainingLog(run, options.log_frequency, objective.weighting, optimizer)
    if is_main():
        described = {"options": vars(options), **provenance()}
        write_json(run.settings, described)
        log.text("settings", f"```\n{json.dumps(described, indent=2)}\n```")

    best_scores: dict[str, float] = {}
    for epoch in range(1, options.num_epochs + 1):
        train_batches.set_epoch(epoch)
        parallel_objective.train()
        for batch in log.watch(train_batches, epoch):
            losses = parallel_objective(batch)
            optimizer.zero_grad()
            losses["total"].backward()
            optimizer.step()
            scheduler.step()
            log.step(losses, num_images=len(batch["rgb"]))

        show = partial(log.picture, epoch=epoch)
        draw = panel_writer(run, settings, epoch, options.log_frequency, show)
        results = validate(objective.network, val_batches, settings, device, draw)
        log.validation(epoch, results)

        if is_main():
            trained = (settings, objective.network, objective.weighting, epoch)
            for task in settings.tasks:
                score = results[task].get(TASKS[task].best_metric)
                if TASKS[task].is_better(score, best_scores.get(task)):
                    best_scores[task] = score
                    save_checkpoint(run.best_model(task), *trained)
            if epoch % options.save_frequency == 0:
                save_checkpoint(run.kept_model(epoch), *trained)
            save_checkpoint(run.last_model, *trained, optimizer=optimizer.state_dict(), best_scores=best_scores)
        barrier()  # nobody starts the next epoch, or ends, before the files are there
    log.close()
    report_bad_samples(train_batches, val_batches)


def build_objective(settings: ModelSettings, options: argparse.Namespace) -> TrainingObjective:
    """The network and its losses, starting from ImageNet, random or given weights.

    Raises:
        UserError: when weights cannot be had, or those given are of another kind of network.
    """
    if not options.load_weights_dir:
        return TrainingObjective(settings.build_network(pretrained=not options.no_pretrained))
    run_path = Path(options.task) / options.backbone
    checkpoint = load_checkpoint(find_checkpoint(options.load_weights_dir, run_path))
    checkpoint.require(backbone=settings.backbone, tasks=settings.tasks, num_classes=len(settings.class_names))
    if checkpoint.settings.tasks != settings.tasks:
        raise UserError(
            f"{checkpoint.path} was trained with --task {join_tasks(checkpoint.settings.tasks)}: say the same"
        )
    objective = TrainingObjective(settings.build_network())
    load_state(objective.network, checkpoint.network, checkpoint.path)
    load_state(objective.weighting, checkpoint.weighting, checkpoint.path)
    return objective


def validate(
    network: torch.nn.Module,
    batches: Batches,
    settings: ModelSettings,
    device: torch.device,
    draw: Callable[[int, dict, dict], None],
) -> dict[str, dict[str, float]]:
    """Figures of the validation set per task; `draw` is called after each batch."""
    network.eval()
    share_buffers(network)
    evaluator = Evaluator(settings.tasks, len(settings.class_names), device)
    results, _ = evaluate(network, batches, evaluator, on_batch=draw)
    return results


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
