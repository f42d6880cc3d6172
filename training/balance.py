"""The balancing method that the command line asks for."""

import argparse
import json
from pathlib import Path

from losses.balancing import BALANCINGS
from losses.balancing.base import Balancing
from tasks import TASKS
from utils.errors import UserError
from utils.run_folder import RunFolder


def balancing_settings(options: argparse.Namespace, tasks: tuple[str, ...]) -> dict:
    """``name`` and the arguments of the method of --balancing, as plain data.

    Raises:
        UserError: when options do not go together, a value is missing, or the runs of --potential_from tell none.
    """
    name = options.balancing
    wanted = BALANCINGS[name].options
    if options.loss_weights and "loss_weights" not in wanted:
        raise UserError(f"--loss_weights is for --balancing fixed, not for {name}")
    if (options.potential or options.potential_from) and "potential" not in wanted:
        raise UserError(f"--potential and --potential_from are for --balancing achievement, not for {name}")
    chosen = {option: getattr(options, option) for option in wanted if option != "potential"}
    if "loss_weights" in wanted:
        chosen["loss_weights"] = _of_tasks("--loss_weights", dict(options.loss_weights or ()), tasks)
    if "potential" in wanted:
        chosen["potential"] = _potential(options, tasks)
    return {"name": name, **chosen}


def check_balancing(options: argparse.Namespace, balancing: Balancing) -> None:
    """Make sure that the rest of the command line suits a method.

    Raises:
        UserError: when it does not.
    """
    if balancing.gradients_of == "none":
        return
    if options.amp == "fp16":
        raise UserError(f"--balancing {options.balancing} compares gradients, which fp16 scales: say --amp bf16 or off")
    if options.compile:
        raise UserError(f"--balancing {options.balancing} goes back through the network once per task: leave --compile")


def _potential(options: argparse.Namespace, tasks: tuple[str, ...]) -> dict[str, float]:
    """The accuracy of a network for each task alone."""
    measured = dict(_measured_potential(Path(run)) for run in options.potential_from or ())
    potential = _of_tasks("--potential", measured | dict(options.potential or ()), tasks)
    if missing := [task for task in tasks if task not in potential]:
        raise UserError(
            f"--balancing {options.balancing} needs the accuracy of single-task training for {', '.join(missing)}: "
            f"say --potential {missing[0]}=0.8 (a share), or --potential_from with the run folder of such a training"
        )
    if wrong := [f"{task}={value:g}" for task, value in potential.items() if not 0 < value <= 1]:
        raise UserError(f"--potential {' '.join(wrong)}: accuracies are shares, above 0 and up to 1")
    return potential


def _of_tasks(flag: str, values: dict[str, float], tasks: tuple[str, ...]) -> dict[str, float]:
    """The values in the order of the tasks, of which there are no others."""
    if unknown := [task for task in values if task not in tasks]:
        raise UserError(f"{flag} {unknown[0]}=...: the tasks are {', '.join(tasks)}")
    return {task: values[task] for task in tasks if task in values}


def _measured_potential(run: Path) -> tuple[str, float]:
    """The task of a single-task training, and its highest accuracy in any validation."""
    path = RunFolder(run).metrics
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as error:
        raise UserError(f"--potential_from {run}: there is no {path}; give the run folder of a training") from error
    except ValueError as error:
        raise UserError(f"--potential_from {run}: {path} is damaged") from error
    found: dict[str, list[float]] = {}
    for task in TASKS:
        values = [line[f"accuracy/{task}"] for line in lines if f"accuracy/{task}" in line]
        if values:
            found[task] = values
    if len(found) != 1:
        raise UserError(
            f"--potential_from {run}: it was validated for {', '.join(found) or 'no task'}; give trainings of one task"
        )
    [(task, values)] = found.items()
    return task, max(values)
