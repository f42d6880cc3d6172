"""--potential_from: accuracies of single-task trainings; what messages about balancing methods name."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from losses.balancing import build_balancing
from options import achievement, elite360m
from options.achievement import parse_training
from options.balancing import balancing_settings, check_balancing
from training.resume import plain
from training.run_folder import RunFolder
from utils.errors import UserError

VMM = ("--arch", "VMM", "--cls_head", "sigmoid")
ROOM_FLAGS = ("--dataset", "Struc3D", "--metric_depth")


def parse_rooms(arguments: list[str]) -> Namespace:
    return elite360m.train_parser().parse_args(arguments)


def write_run(folder: Path, task: str, accuracy: float, options: Namespace) -> Path:
    """A training with these options, which reached this accuracy."""
    run = RunFolder(folder, {})
    run.settings.parent.mkdir(parents=True)
    run.settings.write_text(json.dumps({"options": plain(vars(options))}))
    run.metrics.write_text(json.dumps({f"accuracy/{task}": accuracy}) + "\n")
    return run.root


@pytest.fixture
def run(tmp_path) -> Callable[..., Path]:
    """Writes the folder of a training of the second program with this task, accuracy and flags."""

    def written(task: str, accuracy: float, *flags: str) -> Path:
        return write_run(tmp_path / task, task, accuracy, parse_training([*VMM, "--app", task, *flags]))

    return written


def potential(*runs: Path, method: str = "amtl") -> dict[str, float]:
    flags = ["--app", "detection", "depth", "--train_dataset", "VOC", "NYU", "--loss_metric", method]
    options = parse_training([*VMM, *flags, *(["--potential_from", *map(str, runs)] if runs else [])])
    loss_weights = dict.fromkeys(options.app, 0.5)
    return balancing_settings(options, loss_weights, achievement.BALANCING_RULES)["potential"]


def room_potential(*runs: Path) -> dict[str, float]:
    flags = ["--task", "depth", "--balancing", "achievement", *ROOM_FLAGS]
    options = parse_rooms([*flags, *(["--potential_from", *map(str, runs)] if runs else [])])
    return balancing_settings(options, {"depth": 1.0}, elite360m.BALANCING_RULES)["potential"]


def test_runs_on_different_datasets(run):
    runs = run("detection", 0.5, "--train_dataset", "VOC"), run("depth", 0.8, "--train_dataset", "NYU")
    assert potential(*runs) == {"detection": 0.5, "depth": 0.8}


def test_an_incomplete_last_line_is_ignored(run):
    """A training may be writing it."""
    runs = run("detection", 0.5, "--train_dataset", "VOC"), run("depth", 0.8, "--train_dataset", "NYU")
    with RunFolder(runs[1], {}).metrics.open("a") as file:
        file.write('{"accuracy/depth": 0.')
    assert potential(*runs) == {"detection": 0.5, "depth": 0.8}


def test_another_dataset_is_rejected(run):
    runs = run("detection", 0.5, "--train_dataset", "VOC"), run("depth", 0.8, "--train_dataset", "SyntheticNYU")
    with pytest.raises(UserError, match=r"--test_dataset SyntheticNYU, not VOC NYU_BTS"):
        potential(*runs)


def test_another_size_is_rejected(run):
    """The message has sizes as on the command line, and the syntax of the program's --potential."""
    runs = run("detection", 0.5, "--train_dataset", "VOC", "--size", "64"), run("depth", 0.8, "--train_dataset", "NYU")
    with pytest.raises(UserError, match=r"--size 64 64, not 480 640\b.*--potential .*--app") as info:
        potential(*runs)
    assert "=" not in str(info.value).replace(str(runs[0]), "")


def test_another_meaning_is_rejected(tmp_path):
    run = write_run(tmp_path, "depth", 0.8, parse_rooms(["--dataset", "Struc3D"]))
    with pytest.raises(UserError, match=r"--metric_depth off, not on\b.*--potential TASK=ACCURACY"):
        room_potential(run)


def test_runs_of_the_other_program(tmp_path, run):
    room = write_run(tmp_path / "room", "depth", 0.8, parse_rooms([]))
    with pytest.raises(UserError, match=r"--test_dataset not given, not VOC NYU_BTS"):
        potential(room)
    with pytest.raises(UserError, match=r"--dataset not given, not Struc3D"):
        room_potential(run("depth", 0.8))


def test_tasks_of_the_other_program_do_not_count(run):
    with pytest.raises(UserError, match="no task"):
        room_potential(run("detection", 0.5))


def test_a_new_task_of_one_program(tmp_path):
    """The accuracy of a task is found although the other program does not have it."""
    rules = elite360m.BALANCING_RULES._replace(tasks=("albedo",))
    run = write_run(tmp_path, "albedo", 0.7, parse_rooms([*ROOM_FLAGS]))
    options = parse_rooms([*ROOM_FLAGS, "--balancing", "achievement", "--potential_from", str(run)])
    assert balancing_settings(options, {"albedo": 1.0}, rules)["potential"] == {"albedo": 0.7}


@pytest.mark.parametrize("name", ["amtl", "achievement"])
def test_methods_by_both_names(name):
    """Messages of the second program have the name that the user passed, and the right syntax of --potential."""
    with pytest.raises(UserError, match=rf"--loss_metric .*\b{name}\b.*detection, depth.*--potential .*--app"):
        potential(method=name)


def test_methods_of_panoramas():
    with pytest.raises(UserError, match=r"--balancing achievement .*depth.*--potential TASK=ACCURACY"):
        room_potential()


def test_flags_of_other_methods():
    options = parse_training(["--app", "depth", "--loss_metric", "dwa-g", "--margin", "0.1"])
    with pytest.raises(UserError, match=r"--margin .*--loss_metric amtl .*dwa-g "):
        balancing_settings(options, {"depth": 1.0}, achievement.BALANCING_RULES)


def test_options_that_gradient_methods_reject():
    options = parse_training(["--loss_metric", "grad-norm", "--compile"])
    gradnorm = build_balancing("gradnorm", ("depth", "normal"))
    with pytest.raises(UserError, match=r"--loss_metric grad-norm .*--compile"):
        check_balancing(options, gradnorm, achievement.BALANCING_RULES)
