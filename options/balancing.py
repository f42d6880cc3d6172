"""Both programs: the balancing method of the command line."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from losses.balancing import BALANCINGS
from losses.balancing.base import Balancing
from options.groups import FLAGS_OF_METHODS, BalancingRules
from training.resume import in_words, plain, read_settings
from training.run_folder import RunFolder
from utils.errors import UserError

MARGIN, FOCUSING_FACTOR = 0.05, 2.0  # as in Yun & Cho's experiments
_TEST_DATASET = "test_dataset"  # of the second program: one name, or several joined by +


def balancing_settings(options: argparse.Namespace, loss_weights: Mapping[str, float], rules: BalancingRules) -> dict:
    """``name`` and the arguments of the method of --balancing, as plain data.

    Args:
        options: command line options.
        loss_weights: default loss weights of all tasks, by task.
        rules: those of the program.

    Raises:
        UserError: when options contradict each other, a value is missing, or a run of --potential_from is not suitable.
    """
    name, tasks = options.balancing, tuple(loss_weights)
    wanted = BALANCINGS[name].options
    for flag, option in FLAGS_OF_METHODS.items():
        if getattr(options, flag) is not None and option not in wanted:
            users = ", ".join(rules.method_name(user) for user, spec in BALANCINGS.items() if option in spec.options)
            raise UserError(f"--{flag} is for {rules.method_flag} {users}: drop it for {rules.method_name(name)}")
    arguments = {
        "seed": options.seed,
        "margin": MARGIN if options.margin is None else options.margin,
        "focusing_factor": FOCUSING_FACTOR if options.focusing_factor is None else options.focusing_factor,
    }
    if options.keep_exponents:
        arguments["keep_exponents"] = True
    if "loss_weights" in wanted:
        arguments["loss_weights"] = dict(loss_weights) | _of_tasks("--loss_weights", options.loss_weights, tasks)
        if not any(arguments["loss_weights"].values()):
            raise UserError("--loss_weights: all are 0: pass at least one above 0")
    if "potential" in wanted:
        arguments["potential"] = _potential(options, tasks, rules)
    return {"name": name, **{option: arguments[option] for option in wanted if option in arguments}}


def check_balancing(options: argparse.Namespace, balancing: Balancing, rules: BalancingRules) -> None:
    """Check that the other options are compatible with a method.

    Raises:
        UserError: when they are not.
    """
    if balancing.gradient_scope == "none":
        return
    method = _method(options, rules)
    if options.amp == "fp16":
        raise UserError(f"{method} compares gradients, which fp16 scales: pass --amp bf16 or off")
    if options.compile:
        raise UserError(f"{method} runs one backward pass per task and does not support --compile: drop one of the two")


def _method(options: argparse.Namespace, rules: BalancingRules) -> str:
    """Flag and name of the method, for messages."""
    return f"{rules.method_flag} {rules.method_name(options.balancing)}"


def _potential(options: argparse.Namespace, tasks: tuple[str, ...], rules: BalancingRules) -> dict[str, float]:
    """The accuracy that single-task training reaches, for each task."""
    potential = {}
    for run in options.potential_from or ():
        task, accuracy = _measured_potential(Path(run), options, rules)
        if task not in tasks:
            raise UserError(f"--potential_from {run}: trained for {task}, not for any of {', '.join(tasks)}: drop it")
        if task in potential:
            raise UserError(f"--potential_from {run}: another run is for {task}, too: pass only one of them")
        potential[task] = accuracy
    potential |= _of_tasks("--potential", options.potential, tasks)
    if missing := [task for task in tasks if task not in potential]:
        raise UserError(
            f"{_method(options, rules)} needs the accuracy of single-task training, a fraction such as 0.8, for "
            f"{', '.join(missing)}: pass {rules.potential}, or --potential_from with the run folder of that training"
        )
    if wrong := [f"{task}={value:g}" for task, value in potential.items() if not 0 < value <= 1]:
        raise UserError(f"--potential or --potential_from: {' '.join(wrong)}; accuracies must be above 0 and at most 1")
    return {task: potential[task] for task in tasks}


def _of_tasks(flag: str, values: list[tuple[str, float]] | None, tasks: tuple[str, ...]) -> dict[str, float]:
    """The values by task; the tasks must be distinct, and among `tasks`."""
    by_task = dict(values or ())
    if unknown := [task for task in by_task if task not in tasks]:
        raise UserError(f"{flag} {unknown[0]}=...: choose among the tasks {', '.join(tasks)}")
    if len(by_task) < len(values or ()):
        raise UserError(f"{flag} {' '.join(f'{task}={value:g}' for task, value in values)}: pass each task once")
    return by_task


def _measured_potential(run: Path, options: argparse.Namespace, rules: BalancingRules) -> tuple[str, float]:
    """The task of a single-task training, and its highest accuracy in any validation.

    Raises:
        UserError: when `run` is not the folder of such a training, or its validation is not comparable.
    """
    lines = _read_metrics(run)
    accuracies: dict[str, list[float]] = {}
    for task in rules.tasks:
        values = [line[f"accuracy/{task}"] for line in lines if line.get(f"accuracy/{task}") is not None]
        if values:
            accuracies[task] = values
    if len(accuracies) != 1:
        found = ", ".join(accuracies) or "no task"
        raise UserError(f"--potential_from {run}: validated for {found}; pass trainings of a single task")
    _require_same_validation(run, options, rules)
    [(task, values)] = accuracies.items()
    return task, max(values)


def _read_metrics(run: Path) -> list[dict]:
    """The entries of metrics.jsonl in a run folder."""
    path = RunFolder(run, {}).metrics
    try:
        whole_lines = path.read_text(encoding="utf-8").rpartition("\n")[0]  # the last line may be incomplete
        lines = [json.loads(line) for line in whole_lines.splitlines()]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"--potential_from {run}: there is no {path}; pass the run folder of a training, which holds that file"
        ) from error
    except ValueError:
        lines = [None]
    if not all(isinstance(line, dict) for line in lines):
        raise UserError(f"--potential_from {run}: {path} is damaged")
    return lines


def _require_same_validation(run: Path, options: argparse.Namespace, rules: BalancingRules) -> None:
    """Make sure that accuracies are comparable: measured on the same images, with the same size and meaning.

    If there are several datasets to validate on, the run may have been validated on only some of them.
    """
    path = RunFolder(run, {}).settings
    settings = read_settings(path)
    if settings is None or not isinstance(settings.get("options"), dict):
        raise UserError(f"--potential_from {run}: {path} is missing or damaged; pass {rules.potential} instead")
    was, now = dict(settings["options"]), plain(vars(options))
    for values in (was, now):
        if values.get(_TEST_DATASET):
            values[_TEST_DATASET] = str(values[_TEST_DATASET]).split("+")
    different = [name for name in rules.validation_options if was.get(name) != now[name]]
    if _TEST_DATASET in different and was.get(_TEST_DATASET) and {*was[_TEST_DATASET]} <= {*now[_TEST_DATASET]}:
        different.remove(_TEST_DATASET)
    if different:
        name = different[0]
        raise UserError(
            f"--potential_from {run}: trained with --{name} {in_words(was.get(name))}, not {in_words(now[name])}, so "
            f"accuracies are not comparable: pass a training with the same value, or {rules.potential}"
        )
