"""Resuming through the script; for states, steps and the loop see test_state, test_step and test_loop."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.multiprocessing import ProcessExitedException

import train_elite360m
from datasets.preparation.synthetic_layouts import write_dataset
from options.elite360m import train_parser
from tasks import FOLDERS
from tests.processes import Launch
from tests.tiny import assert_identical
from training.resume import require_same_facts
from training.run_folder import RunFolder
from training.step import Stepper
from utils.errors import UserError, exit_on_user_error

ROOT = Path(__file__).parents[2]
BACKBONE = "timm:test_efficientnet"
SMALL = [
    *("--dataset", "Synthetic", "--height", "32", "--width", "64", "--ico_level", "2", "--no_pretrained"),
    *("--backbone", BACKBONE, "--task", "depth", "--fusion", "none", "--no_intermediate_losses"),
    *("--num_train", "7", "--num_val", "1", "--batch_size", "2", "--num_epochs", "2", "--log_frequency", "1"),
    *("--lr_schedule", "cosine", "--ema_decay", "0.9", "--grad_clip", "50"),
]
STEPS = 4  # per epoch
ONE_STEP = ["--max_minutes", "0"]
LONGER = [*SMALL, "--num_workers", "1", "--save_steps", "1", "--num_epochs", "3"]


def run_folder(log_dir: Path) -> RunFolder:
    return RunFolder(log_dir / "depth" / BACKBONE.replace(":", "_"), FOLDERS)


def train(log_dir: Path, *more: str) -> RunFolder:
    options = train_parser().parse_args([*SMALL, "--num_workers", "0", "--log_dir", str(log_dir), *more])
    if options.dataset != "Synthetic":
        options.num_train = options.num_val = None
    train_elite360m.main(options)
    return run_folder(log_dir)


def read(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def lines_of(run: RunFolder) -> list[dict]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def assert_same_end(run: RunFolder, other: RunFolder) -> None:
    """Compare states except for their signatures, models, metrics and keys of the logged lines."""
    states = [read(folder.state) for folder in (run, other)]
    for state in states:
        del state["signature"], state["parts"]["log"]["metrics_size"]
    assert_identical(*states)
    assert_identical(*(read(folder.last_model)["network"] for folder in (run, other)))
    assert run.result("depth").read_text() == other.result("depth").read_text()
    assert [line.keys() for line in lines_of(run)] == [line.keys() for line in lines_of(other)]


def files(folder: Path) -> dict[str, tuple]:
    """Inode, size and time of each file, which show whether it was written."""
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {str(path): (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def user_error(*arguments) -> str:
    """The one-line message with which a training is rejected."""
    with pytest.raises(UserError) as info:
        train(*arguments)
    message = str(info.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.fixture(scope="module")
def whole_log_dir(tmp_path_factory) -> Path:
    """The --log_dir of a run of two epochs."""
    log_dir = tmp_path_factory.mktemp("whole")
    train(log_dir)
    return log_dir


@pytest.fixture(scope="module")
def whole(whole_log_dir) -> RunFolder:
    return run_folder(whole_log_dir)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """The --log_dir of a run that was stopped after one step."""
    log_dir = tmp_path_factory.mktemp("stopped")
    train(log_dir, *ONE_STEP)
    return log_dir


@pytest.fixture(scope="module")
def stopped_run(stopped) -> RunFolder:
    return run_folder(stopped)


class Killed(BaseException):
    pass


def train_until_killed(num_steps: int, log_dir: Path, *more: str) -> None:
    steps, step = [], Stepper.step

    def dying(self, *args, **kwargs):
        if len(steps) == num_steps:
            raise Killed
        steps.append(1)
        return step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "step", dying)
        with pytest.raises(Killed):
            train(log_dir, *more)


@pytest.mark.slow
def test_killed_in_an_epoch(whole, tmp_path):
    """In the second epoch, after a step that is in no state: order, augmentation, averages and best score."""
    train_until_killed(STEPS + 3, tmp_path, "--save_steps", "2")
    random.seed(5)  # whatever the generators were doing
    assert_same_end(train(tmp_path, "--resume"), whole)


def test_max_minutes(whole, tmp_path, capsys):
    """One step and a line that says how to resume; then the rest."""
    run = train(tmp_path, *ONE_STEP)
    output = capsys.readouterr().out
    assert "--max_minutes" in output
    assert "--resume" in output
    progress = read(run.state)["parts"]["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 1)
    assert_same_end(train(tmp_path, "--resume"), whole)
    assert str(run.state) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("job", "count"), [("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"), ("SLURM_JOB_ID", "SLURM_RESTART_COUNT")]
)
def test_launcher_restarts(job, count, stopped, tmp_path, monkeypatch, capsys):
    """A restart resumes only runs that its own launch has started."""
    monkeypatch.setenv(job, "1")
    train(tmp_path / "new", "--num_train", "2", "--num_epochs", "1", *ONE_STEP)
    fresh = run_folder(tmp_path / "new")
    monkeypatch.setenv(count, "1")
    monkeypatch.setenv(job, "2")
    assert "--resume" in user_error(tmp_path / "new")
    assert "--resume" in user_error(stopped)
    monkeypatch.setenv(job, "1")
    capsys.readouterr()
    train(tmp_path / "new", "--num_train", "2", "--num_epochs", "1", *ONE_STEP)
    assert str(fresh.state) in capsys.readouterr().out
    train(tmp_path / "first", "--num_train", "2", "--num_epochs", "1", *ONE_STEP)
    assert str(run_folder(tmp_path / "first").state) not in capsys.readouterr().out, "nothing to resume"


def test_an_existing_run_is_not_replaced(whole_log_dir):
    """Neither by the same command nor by another one for the same folder."""
    before = files(whole_log_dir)
    for more in ([], ["--seed", "7"], ["--num_epochs", "1"], ["--dataset", "S2D3D", "--dataset_rootdir", "/nowhere"]):
        message = user_error(whole_log_dir, *more)
        assert "--resume" in message
        assert "--overwrite" in message
    assert files(whole_log_dir) == before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--load_weights_dir", "/nowhere"], "/nowhere"),
        (["--dataset", "S2D3D", "--dataset_rootdir", "/nowhere"], "/nowhere"),
        (["--balancing", "fixed", "--margin", "0.1"], "--margin"),
    ],
)
def test_a_wrong_option_keeps_the_run_to_be_overwritten(stopped, flags, named):
    before = files(stopped)
    assert named in user_error(stopped, "--overwrite", *flags)
    assert files(stopped) == before


def test_overwriting_removes_the_earlier_run(whole_log_dir, tmp_path, monkeypatch):
    """The new run is killed before its first save: it has no state, not even that of the earlier run."""
    shutil.copytree(whole_log_dir, tmp_path, dirs_exist_ok=True)
    train_until_killed(2, tmp_path, "--overwrite", "--seed", "7")
    run = run_folder(tmp_path)
    assert not list(run.root.rglob("*.pth"))
    assert [line["step"] for line in lines_of(run)] == [1, 2]
    assert "--resume" in user_error(tmp_path, "--resume", "--seed", "7")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    train(tmp_path, "--seed", "7", *ONE_STEP)
    assert read(run.state)["signature"]["options"]["seed"] == 7


def test_a_state_of_another_run_is_rejected(stopped, whole, tmp_path):
    """For example one copied by hand: settings.json names another run."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    run = run_folder(tmp_path)
    shutil.copy(whole.state, run.state)
    assert str(run.state) in user_error(tmp_path, "--resume")


@pytest.mark.parametrize(
    ("more", "flag", "old", "new"),
    [
        (["--batch_size", "1"], "--batch_size", "2", "1"),
        (["--grad_accum", "2"], "--grad_accum", "1", "2"),
        (["--seed", "3"], "--seed", "100", "3"),
        (["--val_split", "val"], "--val_split", "test", "val"),
        (["--num_train", "6"], "--num_train", "7", "6"),
        (["--num_val", "2"], "--num_val", "1", "2"),
        (["--ema_decay", "0"], "--ema_decay", "0.9", "0.0"),
        (["--amp", "bf16"], "--amp", "off", "bf16"),
        (["--disable_LR_flip_augmentation"], "--disable_LR_flip_augmentation", "off", "on"),
        (["--balancing", "dwa"], "--balancing", "uncertainty", "dwa"),
        (["--height", "64", "--width", "128"], "--height", "32", "64"),
    ],
)
def test_changed_options_are_rejected(stopped, more, flag, old, new):
    """In one line with the flag, the new and the old value; the run stays unchanged."""
    before = files(stopped)
    message = user_error(stopped, "--resume", *more)
    assert flag in message
    assert old in message.partition(flag)[2]
    assert new in message.partition(flag)[2]
    assert files(stopped) == before


def rates(run: RunFolder) -> list[float]:
    return [line["run/learning_rate"] for line in lines_of(run) if "run/learning_rate" in line]


def test_resuming_with_a_longer_schedule(whole_log_dir, tmp_path, capsys):
    """After 2 epochs, the cosine over 2 epochs is 0; the one over 3 epochs is 1/4 and falls from there."""
    shutil.copytree(whole_log_dir, tmp_path, dirs_exist_ok=True)
    run = train(tmp_path, "--num_epochs", "3", "--resume")
    assert "--num_epochs 3" in capsys.readouterr().out
    # Logged after each step is the rate of the next one.
    expected = [1e-4 * (1 + math.cos(math.pi * step / 12)) / 2 for step in range(9, 13)]
    assert rates(run)[8:] == pytest.approx(expected, abs=1e-10)


def test_rate_and_schedule_may_change(stopped, tmp_path, capsys):
    """They apply from the resumed step on; settings.json keeps the original options."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    more = ["--learning_rate", "1e-5", "--lr_schedule", "none", "--weight_decay", "0.1", "--num_epochs", "1"]
    run = train(tmp_path, "--resume", *more)
    assert rates(run)[1:] == pytest.approx([1e-5] * (STEPS - 1))
    groups = read(run.state)["parts"]["stepper"]["optimizer"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.1, 0]
    output = capsys.readouterr().out
    changes = (("--learning_rate 1e-05", "0.0001"), ("--lr_schedule none", "cosine"), ("--weight_decay 0.1", "0.0"))
    for flag, old in changes:
        assert flag in output
        assert old in output.partition(flag)[2]
    settings = json.loads(run.settings.read_text())
    assert settings["options"]["learning_rate"] == 1e-4
    [resumed] = settings["resumed"]
    assert (resumed["epoch"], resumed["step"]) == (1, 1)
    assert resumed["options"]["learning_rate"] == 1e-5
    assert "batch_size" not in resumed["options"], "only what changed"


def test_other_samples_are_rejected(tmp_path):
    """Another folder with the same samples is accepted."""
    for name, num in (("data", 2), ("moved", 2), ("more", 3)):
        write_dataset("S2D3D", num=num, out=tmp_path / name, height=32)
    flags = ["--dataset", "S2D3D", *ONE_STEP]
    run = tmp_path / "run"
    train(run, *flags, "--dataset_rootdir", str(tmp_path / "data"))
    message = user_error(run, *flags, "--dataset_rootdir", str(tmp_path / "more"), "--resume")
    assert "--dataset_rootdir" in message
    assert "--train_list" in message
    train(run, *flags, "--dataset_rootdir", str(tmp_path / "moved"), "--resume")
    assert [line["step"] for line in lines_of(run_folder(run)) if "step" in line] == [1, 2]


def test_settings_newer_than_the_run():
    """They are unchanged if they are None."""
    before = {"meaning": {"tasks": ["depth"]}}
    require_same_facts(before, {"meaning": {"tasks": ["depth"], "fold": None}}, Path("run"))
    with pytest.raises(UserError, match="other meaning, fold: 2 instead of not given"):
        require_same_facts(before, {"meaning": {"tasks": ["depth"], "fold": 2}}, Path("run"))


@pytest.mark.parametrize("num_epochs", ["1", "2"])
def test_resuming_a_finished_run_changes_nothing(whole_log_dir, num_epochs, capsys):
    before = files(whole_log_dir)
    train(whole_log_dir, "--num_epochs", num_epochs, "--resume")
    output = capsys.readouterr().out
    assert str(run_folder(whole_log_dir).root) in output
    assert "--num_epochs" in output
    assert files(whole_log_dir) == before


def test_resuming_an_empty_folder(tmp_path):
    assert "--resume" in user_error(tmp_path, "--resume")


def test_diverged(tmp_path, capsys):
    """Exit code 3 after too many consecutive non-finite losses, here because of an absurd rate."""
    with pytest.raises(SystemExit) as info:
        train(tmp_path, "--max_bad_steps", "2", "--learning_rate", "1e30", "--lr_schedule", "none")
    assert info.value.code == 3
    error = capsys.readouterr().err
    assert error.count("synthetic/train/0000") >= 2
    run = run_folder(tmp_path)
    assert read(run.state)["parts"]["progress"]["bad_steps"] == 2
    assert not run.last_model.exists()


def start(log_dir: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "train_elite360m.py", *LONGER, "--log_dir", str(log_dir)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )


def train_as_a_launcher_does(log_dir: Path, more: list[str], rank: int, num_processes: int) -> None:
    train_elite360m.main(train_parser().parse_args([*LONGER, "--log_dir", str(log_dir), *more]))


def train_in_a_group(log_dir: Path, more: list[str], rank: int, num_processes: int) -> None:
    """As a process group, which can be killed as a whole, including a worker that is just starting."""
    os.setpgid(0, 0)
    train_as_a_launcher_does(log_dir, more, rank, num_processes)


@pytest.mark.slow
def test_killed_repeatedly(tmp_path):
    """Two processes with augmentation and workers, at random moments of training, validation and saving."""

    def launch(name: str, *more: str) -> Launch:
        return Launch(partial(train_in_a_group, tmp_path / name, [*more]), 2, tmp_path / "log")

    launch("whole").wait()
    generator = random.Random(0)
    state = run_folder(tmp_path / "killed").state
    for _ in range(2):
        before = state.stat().st_mtime if state.exists() else 0
        launched = launch("killed", *(["--resume"] if before else []))
        while launched.is_running() and (not state.exists() or state.stat().st_mtime == before):
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 0.3))
        assert launched.is_running(), "more steps are needed for this number of kills"
        for pid in launched.pids:
            os.killpg(pid, signal.SIGKILL)
        with pytest.raises(ProcessExitedException):
            launched.wait()
        for leftover in state.parent.glob(".*"):
            leftover.unlink()
    launch("killed", "--resume").wait()
    assert_same_end(run_folder(tmp_path / "killed"), run_folder(tmp_path / "whole"))


def train_as_a_script(log_dir: Path, rank: int, num_processes: int) -> None:
    with exit_on_user_error():
        train_as_a_launcher_does(log_dir, [], rank, num_processes)


@pytest.mark.slow
def test_two_processes_print_one_error(stopped, tmp_path):
    """Neither starts training or waits for the other."""
    before, log = files(stopped), tmp_path / "log"
    assert Launch(partial(train_as_a_script, stopped), 2, log).exit_codes() == [2, 2]
    output = log.read_text()
    assert output.count("--overwrite") == 1, output
    assert "Traceback" not in output
    assert files(stopped) == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal(number, tmp_path):
    """Sent to the whole process group, as a terminal does with Ctrl-C."""
    process = start(tmp_path)
    state = run_folder(tmp_path).state
    while process.poll() is None and not state.exists():
        time.sleep(0.01)
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert number.name in output
    assert "--resume" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("part", ["signature", "parts", "generators", "log", "progress"])
def test_an_incomplete_state_is_rejected(stopped_run, tmp_path, part):
    run = shutil.copytree(stopped_run.root, run_folder(tmp_path).root)
    path = run / "models/state/last.pth"
    content = read(path)
    for group in (content, content["parts"]):
        group.pop(part, None)
    torch.save(content, path)
    with pytest.raises(UserError, match=r"last\.pth is incomplete"):
        train(tmp_path, "--resume")


def test_states_of_earlier_versions_are_rejected(stopped_run, tmp_path):
    run = shutil.copytree(stopped_run.root, run_folder(tmp_path).root)
    path = run / "models/state/last.pth"
    content = read(path)
    for old in ({**content, "version": 1}, {"format": "elite360m training state, 2", "network": {}}):
        torch.save(old, path)
        with pytest.raises(UserError, match=r"last\.pth is a state of version"):
            train(tmp_path, "--resume")


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '{"resumed": []}', '{"options": {}, "resumed": [1]}', '{"resumed": null}']
)
def test_damaged_settings_are_written_anew(stopped_run, tmp_path, capsys, text):
    """They only describe the run: the state contains the options."""
    run = shutil.copytree(stopped_run.root, run_folder(tmp_path).root)
    settings = run / "models/settings.json"
    settings.unlink()
    run_id = read(run / "models/state/last.pth")["signature"]["run_id"]
    if text is not None:
        settings.write_text(text.replace("{", f'{{"run_id": "{run_id}", ', 1).replace(", }", "}"))
    train(tmp_path, "--resume", "--max_minutes", "0", "--learning_rate", "1e-5")
    assert "settings.json is missing or damaged" in capsys.readouterr().err
    content = json.loads(settings.read_text())
    assert content["options"]["learning_rate"] == 1e-4
    assert [entry["options"]["learning_rate"] for entry in content["resumed"]] == [1e-5]


def test_the_resumed_state_is_printed(stopped_run, tmp_path, capsys):
    run = shutil.copytree(stopped_run.root, run_folder(tmp_path).root)
    (run / "models/state/last.pth").rename(run / "models/state/previous.pth")
    train(tmp_path, "--resume", "--max_minutes", "0")
    assert f"resumed from {run / 'models/state/previous.pth'}" in capsys.readouterr().out
