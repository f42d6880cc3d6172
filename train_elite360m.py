"""Train Elite360M on one process or several, on GPUs or the CPU.

Alone:         python train_elite360m.py --dataset Synthetic --log_dir ./workdirs/Synthetic
On two GPUs:   torchrun --nproc_per_node 2 train_elite360m.py --dataset Synthetic --log_dir ./workdirs/Synthetic

Writes under <log_dir>/<task>/<backbone>/; the README says what.
"""

from options.elite360m import FIXED_ON_RESUME, FREE_ON_RESUME, check_network, check_size, train_parser

if __name__ == "__main__":
    OPTIONS = train_parser().parse_args()  # before torch is imported: --help and wrong flags are answered at once

import argparse
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from datasets.loading import Batches, evaluation_batches, report_bad_samples, training_batches
from datasets.panorama import PanoramaDataset
from losses.balancing import build_balancing
from metrics.evaluator import evaluate
from networks.backbones import folder_of
from networks.checkpoint import ModelSettings, find_checkpoint, load_checkpoint, load_state, save_checkpoint
from options.balancing import balancing_settings, check_balancing
from options.data import describe, loading_settings, open_dataset
from options.training import loop_settings, model_settings, optimization_settings
from tasks import DISPLAYS, FOLDERS, TASKS, build_evaluator, build_objective
from training.log import TrainingLog
from training.loop import fit
from training.objective import TrainingObjective
from training.resume import changed_options, describe_changes, plain, read_history, read_settings
from training.run_folder import RunFolder
from training.setup import AMP_TYPES, prepare_device, prepare_network, seed_generators
from training.state import Progress, SavedState, Signature, has_state, save_state
from training.step import Stepper
from training.stop import StopRequest
from utils.distributed import (
    barrier,
    broadcast_buffers,
    from_main,
    is_distributed,
    is_main,
    launch_id,
    process_group,
    rank,
    was_restarted,
    world_size,
    wrap_ddp,
)
from utils.errors import UserError, exit_on_user_error
from utils.files import write_json
from utils.provenance import provenance
from utils.tasks import parse_tasks
from visual.displays import DisplaySettings
from visual.panels import panel_writer

DIVERGED = 3  # exit code when too many losses in a row are not finite


def main(options: argparse.Namespace) -> None:
    """Train as the command line says."""
    check_size(options.height, options.width)
    check_network(options)
    with StopRequest(options.max_minutes) as stop, process_group(options.gpu_devices) as device:
        diverged = train(options, device, stop)
    if diverged:
        sys.exit(DIVERGED)


def train(options: argparse.Namespace, device: torch.device, stop: StopRequest) -> bool:
    """Build everything, then train and validate epoch by epoch.

    Returns:
        True if training was aborted because of losses that are not finite.
    """
    tasks = parse_tasks(options.task)
    balancing = balancing_settings(options, tasks)
    run = RunFolder(Path(options.log_dir) / options.task / folder_of(options.backbone), FOLDERS)
    run.root.mkdir(parents=True, exist_ok=True)  # every process finds out at once when it cannot be written
    saved = SavedState(run) if from_main(lambda: is_to_resume(run, options)) else None
    prepare_device(options.deterministic)
    seed_generators(options.seed + rank())  # DDP makes the weights equal

    train_set = open_dataset(options, "train", options.height, options.width)
    val_set = open_dataset(options, options.val_split, options.height, options.width)
    if is_main():
        announce(train_set, val_set, options, device)
    train_batches = training_batches(train_set, loading_settings(options), options.seed, device)
    val_batches = evaluation_batches(val_set, loading_settings(options), device)
    loop = loop_settings(options)
    settings = model_settings(options, tasks, train_set)
    signature = Signature(
        run_id=saved.signature.run_id if saved else from_main(lambda: uuid.uuid4().hex),
        options=saved.signature.options if saved else plain(vars(options)),
        facts=plain(
            {
                "number of processes (--nproc_per_node)": world_size(),
                "training samples (--dataset_rootdir, --train_list)": train_set.fingerprint(),
                "validation samples (--dataset_rootdir, --val_list)": val_set.fingerprint(),
                "balancing (--potential_from)": balancing,
                "meaning of the predictions (--dataset)": settings.as_dict(),
            }
        ),
    )
    if saved:
        saved.require(replace(signature, options=plain(vars(options))), FIXED_ON_RESUME)
        if saved.epoch > options.num_epochs:
            report_nothing_to_do(run, saved.epoch - 1)
            return False

    objective = start_objective(settings, balancing, options, resume=saved is not None)
    prepare_network(objective.network, options.channels_last, options.compile)
    steps_per_epoch = loop.steps_per_epoch(len(train_batches))
    optimization = optimization_settings(options, steps_per_epoch)
    stepper = Stepper(objective, wrap_ddp(objective, device), optimization, device)
    if not saved:
        begin_run(run, signature, options, balancing)
    log = TrainingLog(run, options.log_frequency, objective.balancing, stepper.optimizer, resumed=saved is not None)
    progress = Progress()
    parts = {"stepper": stepper, "log": log, "progress": progress}
    if saved:
        saved.restore(parts)
        resume_run(run, signature, options, saved, progress)
    if is_main():
        log.text("settings", f"```\n{run.settings.read_text(encoding='utf-8')}\n```")

    displays, shown_settings = {task: DISPLAYS[task] for task in tasks}, DisplaySettings.of(settings)

    def end_epoch() -> None:
        show = partial(log.picture, epoch=progress.epoch)
        draw = panel_writer(run.picture, displays, shown_settings, progress.epoch, options.log_frequency, show)
        broadcast_buffers(stepper.network)
        results = validate(stepper.network, val_batches, settings, device, draw)
        accuracies = {task: TASKS[task].accuracy(metrics) for task, metrics in results.items()}
        log.validation(progress.epoch, results, accuracies)
        objective.balancing.end_epoch()
        objective.balancing.validated(accuracies)
        if is_main():
            save_models(run, settings, stepper, progress, results, options)

    save = partial(save_state, run, signature, parts)
    outcome = fit(stepper, train_batches, log, progress, loop, stop, save, end_epoch)
    log.close()
    if outcome == "finished":
        report_bad_samples(train_batches, val_batches)
    else:
        report_stop_reason(stop, progress, outcome)
    return outcome == "diverged"


def is_to_resume(run: RunFolder, options: argparse.Namespace) -> bool:
    """Whether to continue the run in a folder instead of starting one.

    Raises:
        UserError: when the folder holds a run that would be destroyed.
    """
    if options.resume:
        return True
    settings = read_settings(run.settings) or {}
    if was_restarted() and has_state(run) and settings.get("launch_id") == launch_id():
        return True
    if run.holds_training() and not options.overwrite:
        raise UserError(
            f"--log_dir: {run.root} already holds a run: pass --resume to continue it, --overwrite to delete it and "
            "start anew, or another --log_dir"
        )
    return False


def begin_run(run: RunFolder, signature: Signature, options: argparse.Namespace, balancing: dict) -> None:
    """Clear the folder of what an earlier run left, and describe the new run in settings.json."""
    barrier()  # every process is past the checks that may still refuse
    if is_main():
        run.clear_training()
        content = {"run_id": signature.run_id, "launch_id": launch_id(), "options": vars(options)}
        write_json(run.settings, content | {"balancing": balancing, **provenance(), "resumed": []})
    barrier()


def resume_run(
    run: RunFolder, signature: Signature, options: argparse.Namespace, saved: SavedState, progress: Progress
) -> None:
    """Print where a run continues and with which new options, and append both to its settings.json."""
    if not is_main():
        return
    now = plain(vars(options))
    content = read_history(run.settings)
    if content is None:
        print(f"{run.settings} is missing or damaged: written anew from {saved.path}", file=sys.stderr)
        content = {"run_id": signature.run_id, "options": dict(signature.options), "resumed": []}
    earlier = [entry["options"] for entry in content["resumed"]]
    before = {name: value for options in [signature.options, *earlier] for name, value in options.items()}
    changed = changed_options(before, now, [name for name in FREE_ON_RESUME if name not in ("resume", "overwrite")])
    where = {"epoch": progress.epoch, "step": progress.step}
    print(f"resumed from {saved.path}: epoch {progress.epoch}, after {progress.step} steps of it")
    if changed:
        print(f"from here on: {describe_changes(before, now, changed)}")
    entry = {**where, "options": {name: now[name] for name in changed}, **provenance()}
    write_json(run.settings, content | {"launch_id": launch_id(), "resumed": [*content["resumed"], entry]})


def announce(
    train_set: PanoramaDataset, val_set: PanoramaDataset, options: argparse.Namespace, device: torch.device
) -> None:
    """Print what is trained on, and what may surprise."""
    print(describe(train_set, options), describe(val_set, options), sep="\n")
    if is_distributed() and device.type == "cpu":
        print(
            "BatchNorm: each process normalizes by its own batch; the running statistics are those of the main process"
        )


def report_nothing_to_do(run: RunFolder, epochs: int) -> None:
    """Print that a run is finished."""
    if is_main():
        print(f"nothing to do: {run.root} has been trained for {epochs} epochs; pass a larger --num_epochs to continue")


def report_stop_reason(stop: StopRequest, progress: Progress, outcome: str) -> None:
    """Print why training stopped, and how to resume it."""
    if not is_main():
        return
    if outcome == "diverged":
        print(f"error: {progress.bad_steps} steps in a row without a finite loss; the state is saved", file=sys.stderr)
    else:
        reason = stop.reason() or "another process was asked to stop"
        where = f"epoch {progress.epoch}, after {progress.step} steps of it"
        print(f"{reason}: stopped in {where}; the state is saved: pass --resume to continue")


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


def start_objective(
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
        return build_objective(settings.build_network(), method, amp_type)
    if not options.load_weights_dir:
        return build_objective(settings.build_network(pretrained=not options.no_pretrained), method, amp_type)
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
    return build_objective(network, method, amp_type)


def validate(
    network: torch.nn.Module,
    batches: Batches,
    settings: ModelSettings,
    device: torch.device,
    draw: Callable[[int, dict, dict], None],
) -> dict[str, dict[str, float]]:
    """Figures of the validation set per task; `draw` is called after each batch."""
    network.eval()
    evaluator = build_evaluator(settings.tasks, len(settings.class_names), device)
    results, _ = evaluate(network, batches, evaluator, on_batch=draw)
    return results


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
