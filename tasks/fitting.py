"""Training from network and batches to the last checkpoint, shared by both programs."""

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
    """Run a script's `train` with the processes and the device of the command line, until it ends or is stopped.

    Exits with code DIVERGED if it returns True.
    """
    with StopRequest(options.max_minutes) as stop, process_group(options.gpu_devices, options.device) as device:
        diverged = train(options, device, stop)
    if diverged:
        sys.exit(DIVERGED)


@dataclass(frozen=True)
class Plan:
    """Settings of a training.

    Attributes:
        balancing: ``name`` and arguments of the balancing method, as plain data.
        optimization, loop, validation: see their classes.
        log_every: number of steps between logged values.
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
    """Train and validate, from the start or from where the run was stopped.

    Args:
        objective: network and losses, on any device.
        settings: settings of the network, for checkpoints.
        batches: training batches.
        plan: settings of the training.
        run: the run, not claimed yet.
        device: training device.
        stop: request to stop early.

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
        report_bad_samples(batches, *(validation_set.batches for validation_set in plan.validation.sets))
    return outcome == "diverged"
