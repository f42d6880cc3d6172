"""What all trainings have in common, from the network and the batches to the last checkpoint."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch

from datasets.loading import Batches, report_bad_samples
from networks.saved_network import NetworkSettings
from tasks.epoch_end import EpochEnd, Validation
from training.log import TrainingLog
from training.loop import LoopSettings, fit
from training.objective import TrainingObjective
from training.optimizers import OptimizationSettings
from training.run import TrainingRun, report_stop_reason
from training.state import Progress
from training.step import Stepper
from training.stop import StopRequest
from utils.distributed import distribute, process_group

DIVERGED = 3  # exit code after too many steps with non-finite losses


def launch(train: Callable[[argparse.Namespace, torch.device, StopRequest], bool], options: argparse.Namespace) -> None:
    """Run a script's `train` in the processes and on the device of the command line, until it ends or is stopped.

    Exits with code DIVERGED if it returns True.
    """
    with StopRequest(options.max_minutes) as stop, process_group(options.gpu_devices, options.device) as device:
        diverged = train(options, device, stop)
    if diverged:
        sys.exit(DIVERGED)


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes:
        balancing: ``name`` and arguments of the balancing method, as plain data.
        optimization, loop, validation: see there.
        log_every: steps between logged values.
    """

    balancing: dict
    optimization: OptimizationSettings
    loop: LoopSettings
    validation: Validation
    log_every: int


def train_network(
    objective: TrainingObjective,
    settings: NetworkSettings,
    batches: Batches,
    plan: Plan,
    run: TrainingRun,
    device: torch.device,
    stop: StopRequest,
) -> bool:
    """Train and validate, from the start or where the run was stopped.

    Args:
        objective: the network, whose device it need not be on, and its losses.
        settings: of the network, for checkpoints.
        batches: of the training set.
        plan, run, stop: see there; the run may not be claimed yet.
        device: to train on.

    Returns:
        True if training was aborted because of non-finite losses.
    """
    stepper = Stepper(objective, distribute(objective, device), plan.optimization, device)
    run.claim({"balancing": plan.balancing})
    folder, progress = run.folder, Progress()
    log = TrainingLog(folder, plan.log_every, objective.balancing, stepper.optimizer, resumed=run.resumed)
    run.restore(progress, {"stepper": stepper, "log": log})
    log.text("settings", f"```\n{folder.settings.read_text(encoding='utf-8')}\n```")
    end_epoch = EpochEnd(folder, settings, plan.balancing["name"], plan.validation, stepper, log, progress)
    outcome = fit(stepper, batches, log, progress, plan.loop, stop, run.save, end_epoch)
    log.close()
    report_stop_reason(stop, progress, outcome)
    if outcome == "finished":
        report_bad_samples(batches, *(images.batches for images in plan.validation.sets))
    return outcome == "diverged"
