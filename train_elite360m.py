"""Train Elite360M on one process or several, on GPUs or the CPU.

Alone:         python train_elite360m.py --dataset Synthetic --log_dir ./workdirs/Synthetic
On two GPUs:   torchrun --nproc_per_node 2 train_elite360m.py --dataset Synthetic --log_dir ./workdirs/Synthetic

Writes under <log_dir>/<task>/<backbone>/; the README says what.
"""

from utils.options import check_network, check_size, train_parser

if __name__ == "__main__":
    OPTIONS = train_parser().parse_args()  # before torch is imported: --help and wrong flags are answered at once

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from datasets.panorama import PanoramaDataset
from losses.balancing import build_balancing
from losses.multitask import TrainingObjective
from metrics.evaluator import Evaluator, evaluate
from networks.backbones import folder_of
from tasks import TASKS
from training.balance import balancing_settings, check_balancing
from training.log import TrainingLog
from training.setup import AMP_TYPES, prepare_device, prepare_network, seed_generators
from training.state import Progress, has_state, restore_state, save_state
from training.step import Stepper
from training.stop import StopRequest
from utils.checkpoint import ModelSettings, find_checkpoint, load_checkpoint, load_state, save_checkpoint
from utils.distributed import barrier, is_distributed, is_main, parallelise, process_group, rank, share_buffers
from utils.errors import exit_on_user_error
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
from utils.tasks import parse_tasks

GAVE_UP = 3  # exit code when too many losses in a row are not finite


def main(options: argparse.Namespace) -> None:
    """Train as the command line says."""
    check_size(options.height, options.width)
    check_network(options)
    with StopRequest(options.max_minutes) as stop, process_group(options.gpu_devices) as device:
        gave_up = train(options, device, stop)
    if gave_up:
        sys.exit(GAVE_UP)


def train(options: argparse.Namespace, device: torch.device, stop: StopRequest) -> bool:
    """Build everything, then train and validate epoch by epoch; whether training gave up, its losses not finite."""
    tasks = parse_tasks(options.task)
    balancing = balancing_settings(options, tasks)
    run = RunFolder(Path(options.log_dir) / options.task / folder_of(options.backbone))
    run.root.mkdir(parents=True, exist_ok=True)  # every process finds out at once when it cannot be written
    resume = options.resume or (restarted() and has_state(run))
    prepare_device(options)
    seed_generators(options.seed + rank())  # DDP makes the weights equal

    train_set = open_dataset(options, "train", options.height, options.width)
    val_set = open_dataset(options, options.val_split, options.height, options.width)
    if is_main():
        announce(run, train_set, val_set, options, device, resume)
    train_batches = training_batches(train_set, options, device)
    val_batches = evaluation_batches(val_set, options, device)
    steps_per_epoch = -(-len(train_batches) // options.grad_accum)

    settings = ModelSettings(
        backbone=options.backbone,
        tasks=tasks,
        ico_level=options.ico_level,
        height=options.height,
        width=options.width,
        dataset=options.dataset,
        class_names=train_set.classes.names,
        class_colours=train_set.classes.colours,
        depth_unit=train_set.depth_unit,
        normal_frame=train_set.normal_frame,
        fusion=options.fusion,
        b2f=options.b2f,
        cross_task=options.cross_task,
        intermediate=not options.no_intermediate_losses,
    )
    objective = build_objective(settings, balancing, options, resume)
    prepare_network(objective.network, options)
    stepper = Stepper(objective, parallelise(objective, device), options, steps_per_epoch, device)
    log = TrainingLog(run, options.log_frequency, objective.balancing, stepper.optimizer, resumed=resume)
    progress = restore_state(run, settings, balancing, stepper, log) if resume else Progress()
    save = partial(save_state, run, settings, balancing, progress, stepper, log)
    if is_main():
        described = {"options": vars(options), "balancing": balancing, **provenance()}
        write_json(run.settings, described)
        log.text("settings", f"```\n{json.dumps(described, indent=2)}\n```")

    while progress.epoch <= options.num_epochs:
        train_batches.set_epoch(progress.epoch, first_batch=progress.step * options.grad_accum)
        objective.train()
        groups = in_groups(train_batches, options.grad_accum)
        for batches in log.watch(groups, progress.epoch, progress.step, steps_per_epoch):
            if options.log_grad_norms and log.next_is_written:
                log.grad_norms(stepper.grad_norms(batches[0]))
            result = stepper.step(batches, wants_to_stop=stop.reason() is not None)
            progress.step += 1
            if result.problem:
                log.bad_step(result.problem)
                progress.bad_steps += 1
            else:
                log.step(result.losses, result.num_images)
                progress.bad_steps = 0
            gives_up = progress.bad_steps >= options.max_bad_steps
            if gives_up or result.stop or progress.step % options.save_steps == 0:
                save()
            if gives_up or result.stop:
                log.close()
                say_why_it_ends(stop, progress, gives_up)
                return gives_up

        save()  # a run that ends while it validates need not train this epoch's last steps again
        show = partial(log.picture, epoch=progress.epoch)
        draw = panel_writer(run, settings, progress.epoch, options.log_frequency, show)
        share_buffers(stepper.network)
        results = validate(stepper.network, val_batches, settings, device, draw)
        log.validation(progress.epoch, results)
        objective.balancing.end_epoch()
        objective.balancing.validated({task: TASKS[task].accuracy(figures) for task, figures in results.items()})
        if is_main():
            save_models(run, settings, stepper, progress, results, options)
        progress.epoch, progress.step = progress.epoch + 1, 0
        save()
        barrier()  # nobody starts the next epoch, or ends, before the files are there
    log.close()
    report_bad_samples(train_batches, val_batches)
    return False


def announce(
    run: RunFolder,
    train_set: PanoramaDataset,
    val_set: PanoramaDataset,
    options: argparse.Namespace,
    device: torch.device,
    resume: bool,
) -> None:
    """Say what is going to happen, as far as it may surprise."""
    print(describe(train_set, options), describe(val_set, options), sep="\n")
    if is_distributed() and device.type == "cpu":
        print("BatchNorm: each process has statistics of its own (SyncBatchNorm exists on CUDA only)")
    if not resume and has_state(run):
        print(f"{run.root} holds a run already: it is replaced (--resume would go on with it)")


def in_groups(batches: Iterable[dict], size: int) -> Iterator[list[dict]]:
    """Lists of `size` batches each; the last may be shorter."""
    iterator = iter(batches)
    while group := list(islice(iterator, size)):
        yield group


def restarted() -> bool:
    """Whether torchrun has started this process again, after another one failed (--max-restarts)."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def say_why_it_ends(stop: StopRequest, progress: Progress, gives_up: bool) -> None:
    """Say that training does not work; or where it was asked to end, and how it goes on."""
    if not is_main():
        return
    if gives_up:
        print(f"error: {progress.bad_steps} steps in a row without a finite loss; the state is saved", file=sys.stderr)
    else:
        reason = stop.reason() or "another process was asked to stop"
        where = f"epoch {progress.epoch}, after {progress.step} steps of it"
        print(f"{reason}: stopped in {where}; the state is saved, the same command with --resume goes on")


def save_models(
    run: RunFolder,
    settings: ModelSettings,
    stepper: Stepper,
    progress: Progress,
    results: dict[str, dict[str, float]],
    options: argparse.Namespace,
) -> None:
    """Write the last model, those that are the best at a task so far, and every now and then one to keep."""
    trained = (settings, stepper.network, stepper.objective.balancing, progress.epoch, options.balancing)
    for task in settings.tasks:
        score = results[task].get(TASKS[task].best_metric)
        if TASKS[task].is_better(score, progress.best_scores.get(task)):
            progress.best_scores[task] = score
            save_checkpoint(run.best_model(task), *trained)
    if progress.epoch % options.save_frequency == 0:
        save_checkpoint(run.kept_model(progress.epoch), *trained)
    save_checkpoint(run.last_model, *trained, best_scores=progress.best_scores)


def build_objective(
    settings: ModelSettings, balancing: dict, options: argparse.Namespace, resume: bool
) -> TrainingObjective:
    """The network and its losses, starting from ImageNet, random or given weights; from any to `resume`.

    Raises:
        UserError: when weights cannot be had, or those given are of another kind of network.
    """
    amp_type = AMP_TYPES[options.amp]
    method = build_balancing(tasks=settings.tasks, **balancing)
    check_balancing(options, method)
    if resume:
        return TrainingObjective(settings.build_network(), method, amp_type)
    if not options.load_weights_dir:
        return TrainingObjective(settings.build_network(pretrained=not options.no_pretrained), method, amp_type)
    run_path = Path(options.task) / folder_of(options.backbone)
    checkpoint = load_checkpoint(find_checkpoint(options.load_weights_dir, run_path))
    checkpoint.require_same_architecture(settings)
    if is_main():
        for difference in checkpoint.differences(settings):
            print(difference)
    network = settings.build_network()
    load_state(network, checkpoint.network, checkpoint.path)
    if checkpoint.balancing == options.balancing and list(method.parameters()):  # weights that were learnt
        load_state(method, checkpoint.weighting, checkpoint.path)
    return TrainingObjective(network, method, amp_type)


def validate(
    network: torch.nn.Module,
    batches: Batches,
    settings: ModelSettings,
    device: torch.device,
    draw: Callable[[int, dict, dict], None],
) -> dict[str, dict[str, float]]:
    """Figures of the validation set per task; `draw` is called after each batch."""
    network.eval()
    evaluator = Evaluator(settings.tasks, len(settings.class_names), device)
    results, _ = evaluate(network, batches, evaluator, on_batch=draw)
    return results


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
