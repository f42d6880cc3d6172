"""--potential_from: accuracies of single-task trainings, for joint training on several datasets."""

import json
from pathlib import Path

import pytest

from options.achievement import VALIDATION_OPTIONS, parse_training
from options.balancing import balancing_settings
from training.resume import plain
from training.run_folder import RunFolder
from utils.errors import UserError

VMM = ("--arch", "VMM", "--cls_head", "sigmoid")


@pytest.fixture
def run(tmp_path):
    """Writes the folder of a training with this task, accuracy and options."""

    def written(task: str, accuracy: float, *flags: str) -> Path:
        options = parse_training([*VMM, "--app", task, *flags])
        folder = RunFolder(tmp_path / task, {})
        folder.settings.parent.mkdir(parents=True)
        folder.settings.write_text(json.dumps({"options": plain(vars(options))}))
        folder.metrics.write_text(json.dumps({f"accuracy/{task}": accuracy}) + "\n")
        return folder.root

    return written


def potential(*runs: Path) -> dict[str, float]:
    flags = ["--app", "detection", "depth", "--train_dataset", "VOC", "NYU", "--loss_metric", "amtl"]
    options = parse_training([*VMM, *flags, "--potential_from", *map(str, runs)])
    return balancing_settings(options, tuple(options.app), None, VALIDATION_OPTIONS)["potential"]


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
    with pytest.raises(UserError, match=r"--test_dataset SyntheticNYU, not VOC\+NYU_BTS"):
        potential(*runs)


def test_another_size_is_rejected(run):
    runs = run("detection", 0.5, "--train_dataset", "VOC", "--size", "64"), run("depth", 0.8, "--train_dataset", "NYU")
    with pytest.raises(UserError, match="--size"):
        potential(*runs)
