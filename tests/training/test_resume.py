"""A training that ends early and goes on is the training that was never stopped, bit for bit."""

import contextlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train_elite360m
from training.step import Stepper
from utils.errors import UserError
from utils.options import train_parser

ROOT = Path(__file__).parents[2]
SMALL = [
    *("--dataset", "Synthetic", "--height", "32", "--width", "64", "--ico_level", "2", "--no_pretrained"),
    *("--num_train", "7", "--num_val", "1", "--batch_size", "2", "--num_epochs", "2", "--log_frequency", "1"),
    *("--lr_schedule", "cosine", "--ema_decay", "0.9", "--grad_clip", "50"),
]
STEPS = 4  # of an epoch


def run_folder(log_dir: Path) -> Path:
    return log_dir / "depth_normal_segmentation" / "Elite360M_Res18"


def train(log_dir: Path, *more: str) -> Path:
    options = train_parser().parse_args([*SMALL, "--num_workers", "0", "--log_dir", str(log_dir), *more])
    train_elite360m.main(options)
    return run_folder(log_dir)


def read(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def assert_same_end(run: Path, other: Path) -> None:
    """The same weights, averages, moments, schedules, generators, best scores and figures."""
    ours, theirs = (read(folder / "models/state/last.pth") for folder in (run, other))
    for part in ("objective", "ema"):
        for name, value in theirs["stepper"][part].items():
            assert torch.equal(ours["stepper"][part][name], value), name
    assert pickle.dumps(ours["progress"]) == pickle.dumps(theirs["progress"])
    assert ours["stepper"]["scheduler"] == theirs["stepper"]["scheduler"]
    for mine, their in zip(ours["generators"], theirs["generators"], strict=True):
        assert torch.equal(mine["torch"], their["torch"])
        assert mine["numpy"] == their["numpy"]
    moments = [x["stepper"]["optimizer"]["state"] for x in (ours, theirs)]
    assert all(torch.equal(moments[0][i]["exp_avg_sq"], moments[1][i]["exp_avg_sq"]) for i in moments[1])
    ours, theirs = (read(folder / "models/weights_last/last_model.pth")["network"] for folder in (run, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (run / "depth/result.txt").read_text() == (other / "depth/result.txt").read_text()
    lines = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (run, other)]
    assert [json.loads(line).keys() for line in lines[0]] == [json.loads(line).keys() for line in lines[1]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("last_step", [1, 3, STEPS, STEPS + 2])
def test_resumed_in_the_middle_of_an_epoch(whole, tmp_path, monkeypatch, last_step):
    steps, step = [], Stepper.step

    def dying(self, *args, **kwargs):
        if len(steps) == last_step:
            raise Killed
        steps.append(1)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Stepper, "step", dying)
    with pytest.raises(Killed):
        train(tmp_path, "--save_steps", "1")
    monkeypatch.setattr(Stepper, "step", step)
    torch.manual_seed(123)  # whatever the generators were doing
    random.seed(5)
    assert_same_end(train(tmp_path, "--resume"), whole)


def test_resumed_from_the_last_save(whole, tmp_path, monkeypatch):
    """The state is older than the crash: the steps since then are done again."""
    save, saves = train_elite360m.save_state, []

    def dying(*args):
        saves.append(1)
        if len(saves) == 3:  # after 2 and 4 steps, and before the validation
            raise Killed
        save(*args)

    monkeypatch.setattr(train_elite360m, "save_state", dying)
    with pytest.raises(Killed):
        train(tmp_path, "--save_steps", "2")
    monkeypatch.undo()
    assert_same_end(train(tmp_path, "--resume"), whole)


def test_time_is_up(whole, tmp_path, capsys):
    """One step, a line that says how to go on, and exit code 0."""
    run = train(tmp_path, "--max_minutes", "0")
    told = capsys.readouterr().out
    assert "--max_minutes are over: stopped in epoch 1, after 1 steps of it; the state is saved" in told
    assert "--resume" in told
    assert read(run / "models/state/last.pth")["progress"]["step"] == 1
    assert_same_end(train(tmp_path, "--resume"), whole)
    assert "resumed from" in capsys.readouterr().out


def test_restarted_by_torchrun(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    train(tmp_path, "--max_minutes", "0")
    assert "resumed" not in capsys.readouterr().out, "there was nothing to resume"
    assert_same_end(train(tmp_path), whole)
    assert "resumed from" in capsys.readouterr().out


def test_a_damaged_state(whole, tmp_path, capsys):
    run = train(tmp_path, "--max_minutes", "0")
    train(tmp_path, "--max_minutes", "0", "--resume")
    state, previous = run / "models/state/last.pth", run / "models/state/previous.pth"
    assert (read(previous)["progress"]["step"], read(state)["progress"]["step"]) == (1, 2)
    state.write_bytes(state.read_bytes()[:100_000])
    capsys.readouterr()
    assert_same_end(train(tmp_path, "--resume"), whole)
    assert "going on from the state before it" in capsys.readouterr().err


def test_a_run_is_replaced_with_a_word(tmp_path, capsys):
    train(tmp_path, "--max_minutes", "0")
    assert "holds a run already" not in capsys.readouterr().out
    train(tmp_path, "--max_minutes", "0")
    assert "holds a run already: it is replaced (--resume would go on with it)" in capsys.readouterr().out


def test_nothing_to_go_on_from(tmp_path):
    with pytest.raises(UserError, match="there is nothing to resume"):
        train(tmp_path, "--resume")
    state = run_folder(tmp_path) / "models/state/last.pth"
    state.parent.mkdir(parents=True)
    for content, message in ((b"nonsense", "is not loaded|cannot be read"), (None, "is not what it should be")):
        if content is None:
            torch.save({"format": "elite360m"}, state)
        else:
            state.write_bytes(content)
        with pytest.raises(UserError, match=message):
            train(tmp_path, "--resume")


def test_code_in_a_state_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    state = run_folder(tmp_path) / "models/state/last.pth"
    state.parent.mkdir(parents=True)
    torch.save({"format": "elite360m training state", "progress": Evil()}, state)
    with pytest.raises(UserError, match="it could run code"):
        train(tmp_path, "--resume")
    assert not (tmp_path / "owned").exists()


def test_state_of_another_training(tmp_path):
    train(tmp_path, "--max_minutes", "0")
    with pytest.raises(UserError, match="is of a training with another height, width"):
        train(tmp_path, "--resume", "--height", "64", "--width", "128")


def test_gives_up_when_no_loss_is_finite(tmp_path, monkeypatch, capsys):
    read_room = train_elite360m.Batches.__iter__

    def spoilt(self):
        for batch in read_room(self):
            yield batch | {"rgb": batch["rgb"] * torch.nan}

    monkeypatch.setattr(train_elite360m.Batches, "__iter__", spoilt)
    with pytest.raises(SystemExit) as info:
        train(tmp_path, "--max_bad_steps", "3")
    assert info.value.code == 3
    error = capsys.readouterr().err
    assert "3 steps in a row without a finite loss; the state is saved" in error
    assert error.count("skipped, not finite: total, depth") == 3
    assert "synthetic/train/0000" in error
    assert read(run_folder(tmp_path) / "models/state/last.pth")["progress"]["bad_steps"] == 3


def start(log_dir: Path, processes: int, *more: str) -> subprocess.Popen:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    arguments = [*SMALL, "--num_workers", "1", "--save_steps", "1", "--num_epochs", "4", "--log_dir", str(log_dir)]
    return subprocess.Popen(
        [sys.executable, *(launcher if processes > 1 else []), "train_elite360m.py", *arguments, *more],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )


def kill_all(process: subprocess.Popen) -> None:
    """The launcher and what it started, at once. torchrun's children lead sessions of their own."""
    listing = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    parents = [tuple(map(int, line.split())) for line in listing.splitlines()[1:]]
    family = [process.pid]
    for pid in family:
        family += [child for child, parent in parents if parent == pid]
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "kills"), [(1, 7), (2, 5)])
def test_killed_again_and_again(processes, kills, tmp_path):
    """At random moments of training, of validation and of writing the state; with augmentation and workers."""
    undisturbed = start(tmp_path / "whole", processes)
    output, _ = undisturbed.communicate(timeout=200)
    assert undisturbed.returncode == 0, output
    generator = random.Random(0)
    state = run_folder(tmp_path / "killed") / "models/state/last.pth"
    survived, writing = 0, 0
    while survived < kills:
        before = state.stat().st_mtime if state.exists() else 0
        process = start(tmp_path / "killed", processes, *(["--resume"] if before else []))
        while process.poll() is None and (not state.exists() or state.stat().st_mtime == before):
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 0.6))
        assert process.poll() is None, "more steps are needed for so many kills"
        kill_all(process)
        writing += bool(list(state.parent.glob(".*")))
        for leftover in state.parent.glob(".*"):
            leftover.unlink()
        survived += 1
    last = start(tmp_path / "killed", processes, "--resume")
    output, _ = last.communicate(timeout=200)
    assert last.returncode == 0, output
    assert_same_end(run_folder(tmp_path / "killed"), run_folder(tmp_path / "whole"))
    print(f"{processes} processes: {survived} kills survived, {writing} of them while the state was being written")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end(number, tmp_path, whole):
    process = start(tmp_path, 1)
    state = run_folder(tmp_path) / "models/state/last.pth"
    while process.poll() is None and not state.exists():
        time.sleep(0.01)
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert f"{number.name} was received: stopped in epoch" in output
    assert "Traceback" not in output
