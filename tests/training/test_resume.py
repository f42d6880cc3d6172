"""A training that ends early and goes on is the training that was never stopped, bit for bit."""

import contextlib
import json
import math
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import train_elite360m
from tools.make_synthetic_dataset import write_dataset
from training import state
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
    (our_parts, their_parts) = (ours["parts"], theirs["parts"])
    for part in ("objective", "ema"):
        for name, value in their_parts["stepper"][part].items():
            assert torch.equal(our_parts["stepper"][part][name], value), name
    assert pickle.dumps(our_parts["progress"]) == pickle.dumps(their_parts["progress"])
    assert our_parts["stepper"]["steps_done"] == their_parts["stepper"]["steps_done"]
    for mine, their in zip(ours["generators"], theirs["generators"], strict=True):
        assert torch.equal(mine["torch"], their["torch"])
        assert mine["numpy"] == their["numpy"]
    moments = [x["stepper"]["optimizer"]["state"] for x in (our_parts, their_parts)]
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


@pytest.mark.parametrize("last_step", [1, 3, STEPS, STEPS + 2])
def test_resumed_in_the_middle_of_an_epoch(whole, tmp_path, last_step):
    train_until_killed(last_step, tmp_path, "--save_steps", "1")
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
    output = capsys.readouterr().out
    assert "--max_minutes are over: stopped in epoch 1, after 1 steps of it; the state is saved" in output
    assert "--resume" in output
    assert read(run / "models/state/last.pth")["parts"]["progress"]["step"] == 1
    assert_same_end(train(tmp_path, "--resume"), whole)
    assert "resumed from" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("job", "count"), [("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"), ("SLURM_JOB_ID", "SLURM_RESTART_COUNT")]
)
def test_restarted_by_a_launcher(job, count, whole, tmp_path, monkeypatch, capsys):
    """A restart resumes what its own launch started, and nothing else."""
    monkeypatch.setenv(job, "1")
    train(tmp_path, "--max_minutes", "0")
    assert "resumed" not in capsys.readouterr().out, "there was nothing to resume"
    monkeypatch.setenv(count, "1")
    monkeypatch.setenv(job, "2")
    with pytest.raises(UserError, match="--resume"):
        train(tmp_path)
    monkeypatch.setenv(job, "1")
    assert_same_end(train(tmp_path), whole)
    assert "resumed from" in capsys.readouterr().out


def test_a_damaged_state(whole, tmp_path, capsys):
    run = train(tmp_path, "--max_minutes", "0")
    train(tmp_path, "--max_minutes", "0", "--resume")
    state, previous = run / "models/state/last.pth", run / "models/state/previous.pth"
    assert (read(previous)["parts"]["progress"]["step"], read(state)["parts"]["progress"]["step"]) == (1, 2)
    state.write_bytes(state.read_bytes()[:100_000])
    capsys.readouterr()
    assert_same_end(train(tmp_path, "--resume"), whole)
    assert "continuing from the state before it" in capsys.readouterr().err


def digest(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_not_replaced_by_accident(tmp_path):
    """The same command again, or another one for the same folder, leaves every file as it was."""
    run = train(tmp_path, "--num_epochs", "1")
    before = digest(run)
    for more in ([], ["--seed", "7"], ["--num_epochs", "1"], ["--dataset", "S2D3D", "--dataset_rootdir", "/nowhere"]):
        with pytest.raises(UserError, match=r"--resume .*--overwrite"):
            train(tmp_path, *more)
    assert digest(run) == before


def test_a_wrong_option_does_not_cost_the_run_that_is_to_be_overwritten(tmp_path):
    run = train(tmp_path, "--max_minutes", "0")
    before = digest(run)
    for more in (["--load_weights_dir", "/nowhere"], ["--backbone", "Elite360M_Res18", "--val_list", "/nowhere"]):
        with pytest.raises(UserError):
            train(tmp_path, "--overwrite", "--dataset", "S2D3D", "--dataset_rootdir", str(tmp_path), *more)
    assert digest(run) == before


def test_overwriting_leaves_nothing_of_the_earlier_run(tmp_path, monkeypatch):
    """Killed before its first save, the new run has no state: the earlier one's is not taken for it."""
    run = train(tmp_path, "--num_epochs", "1")
    train_until_killed(2, tmp_path, "--overwrite", "--seed", "7")
    assert not list(run.rglob("*.pth"))
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    with pytest.raises(UserError, match="there is nothing to resume"):
        train(tmp_path, "--resume", "--seed", "7")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    train(tmp_path, "--seed", "7", "--max_minutes", "0")
    assert read(run / "models/state/last.pth")["signature"]["options"]["seed"] == 7


def test_a_state_of_another_run_is_refused(tmp_path):
    """Put back by hand, for one: its settings.json knows another run."""
    run = train(tmp_path / "a", "--max_minutes", "0")
    other = train(tmp_path / "b", "--max_minutes", "0")
    (run / "models/state/last.pth").write_bytes((other / "models/state/last.pth").read_bytes())
    with pytest.raises(UserError, match=r"last\.pth is of another run"):
        train(tmp_path / "a", "--resume")


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
def test_options_that_a_run_must_keep(stopped, tmp_path, more, flag, old, new):
    """Refused in one line with the flag, the new and the old value; the run stays as it is."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    before = digest(tmp_path)
    with pytest.raises(UserError) as info:
        train(tmp_path, "--resume", *more)
    assert f"{flag} is {new}, but was {old}" in str(info.value)
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 500
    assert digest(tmp_path) == before


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The --log_dir of a run that was stopped after one step."""
    log_dir = tmp_path_factory.mktemp("stopped")
    train(log_dir, "--max_minutes", "0")
    return log_dir


def rates(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["run/learning_rate"] for line in lines if "run/learning_rate" in line]


def test_a_longer_schedule_continues_where_the_step_is(tmp_path, capsys):
    """Cosine over 2 epochs has come to 0; over 3 it has a quarter left at that step, and falls from there."""
    flags = ["--learning_rate", "1e-3", "--weight_decay", "0"]
    train(tmp_path, *flags)
    capsys.readouterr()
    run = train(tmp_path, *flags, "--num_epochs", "3", "--resume")
    assert "--num_epochs 3 (was 2)" in capsys.readouterr().out
    # The rate is logged after the step: that of the next one.
    expected = [1e-3 * (1 + math.cos(math.pi * step / 12)) / 2 for step in range(9, 13)]
    assert rates(run)[8:] == pytest.approx(expected, abs=1e-9)


def test_rate_and_schedule_may_change(stopped, tmp_path, capsys):
    """They apply from the step that was reached; settings.json keeps what the run was started with."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    more = ["--learning_rate", "1e-5", "--lr_schedule", "none", "--weight_decay", "0.1", "--num_epochs", "1"]
    run = train(tmp_path, "--resume", *more)
    assert rates(run)[1:] == pytest.approx([1e-5] * (STEPS - 1))
    groups = read(run / "models/state/last.pth")["parts"]["stepper"]["optimizer"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.1, 0]
    output = capsys.readouterr().out
    for text in (
        "--learning_rate 1e-05 (was 0.0001)",
        "--lr_schedule none (was cosine)",
        "--weight_decay 0.1 (was 0.0)",
    ):
        assert text in output
    settings = json.loads((run / "models/settings.json").read_text())
    assert settings["options"]["learning_rate"] == 1e-4
    [resumed] = settings["resumed"]
    assert (resumed["epoch"], resumed["step"]) == (1, 1)
    assert resumed["options"]["learning_rate"] == 1e-5
    assert "batch_size" not in resumed["options"], "only what changed"


def test_other_samples_are_refused(tmp_path):
    """Another folder is taken if it holds the same samples: --dataset_rootdir is a place, not a meaning."""
    for name, num in (("data", 2), ("moved", 2), ("more", 3)):
        write_dataset("S2D3D", num=num, out=tmp_path / name, height=32)
    flags = ["--dataset", "S2D3D", "--num_epochs", "1"]
    run = tmp_path / "run"
    train(run, *flags, "--dataset_rootdir", str(tmp_path / "data"), "--max_minutes", "0")
    with pytest.raises(UserError, match=r"training samples \(--dataset_rootdir, --train_list\)"):
        train(run, *flags, "--dataset_rootdir", str(tmp_path / "more"), "--resume")
    train(run, *flags, "--dataset_rootdir", str(tmp_path / "moved"), "--resume")


def test_a_finished_run_has_nothing_to_do(tmp_path, capsys):
    run = train(tmp_path, "--num_epochs", "1")
    before = digest(run)
    for epochs in ("1", "1"):
        train(tmp_path, "--num_epochs", epochs, "--resume")
        assert "nothing to do" in capsys.readouterr().out
    assert digest(run) == before


def test_nothing_to_go_on_from(tmp_path):
    with pytest.raises(UserError, match="there is nothing to resume"):
        train(tmp_path, "--resume")
    last = run_folder(tmp_path) / "models/state/last.pth"
    last.parent.mkdir(parents=True)
    for content, message in ((b"nonsense", "is not loaded|cannot be read"), (None, "is not what it should be")):
        if content is None:
            torch.save({"format": "elite360m"}, last)
        else:
            last.write_bytes(content)
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
    assert read(run_folder(tmp_path) / "models/state/last.pth")["parts"]["progress"]["bad_steps"] == 3


def test_generators_are_those_of_the_own_gpu(monkeypatch):
    """A process uses one GPU: where others are visible, or no others any more, their generators do not matter."""
    kept = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.tensor([1, 2], dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", kept.append)
    for name in ("get_rng_state_all", "set_rng_state_all"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: pytest.fail("states of all GPUs"))
    state._set_generators(state._generator_states())
    assert kept[0].tolist() == [1, 2]


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
def test_two_processes_refuse_a_folder_with_one_line(tmp_path):
    """None of them begins, or waits for the other."""
    first = start(tmp_path, 2, "--max_minutes", "0")
    output, _ = first.communicate(timeout=200)
    assert first.returncode == 0, output
    before = digest(run_folder(tmp_path))
    second = start(tmp_path, 2)
    output, _ = second.communicate(timeout=100)
    assert second.returncode != 0
    assert output.count("--overwrite") == 1, output
    assert digest(run_folder(tmp_path)) == before


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


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("stopped"), "--max_minutes", "0")


@pytest.mark.parametrize("part", ["signature", "parts", "generators", "log", "progress"])
def test_an_incomplete_state_is_refused(stopped_run, tmp_path, part):
    run = shutil.copytree(stopped_run, run_folder(tmp_path))
    path = run / "models/state/last.pth"
    content = read(path)
    for group in (content, content["parts"]):
        group.pop(part, None)
    torch.save(content, path)
    with pytest.raises(UserError, match=r"last\.pth is incomplete"):
        train(tmp_path, "--resume")


def test_states_of_earlier_versions_are_refused_as_such(stopped_run, tmp_path):
    run = shutil.copytree(stopped_run, run_folder(tmp_path))
    path = run / "models/state/last.pth"
    content = read(path)
    for old in ({**content, "version": 1}, {"format": "elite360m training state, 2", "network": {}}):
        torch.save(old, path)
        with pytest.raises(UserError, match=r"last\.pth is a state of version"):
            train(tmp_path, "--resume")


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '{"resumed": []}', '{"options": {}, "resumed": [1]}', '{"resumed": null}']
)
def test_settings_that_are_damaged_are_written_anew(stopped_run, tmp_path, capsys, text):
    """They say what happened, and decide nothing: the state knows the options."""
    run = shutil.copytree(stopped_run, run_folder(tmp_path))
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


def test_the_file_that_a_run_continues_from_is_named(stopped_run, tmp_path, capsys):
    run = shutil.copytree(stopped_run, run_folder(tmp_path))
    (run / "models/state/last.pth").rename(run / "models/state/previous.pth")
    train(tmp_path, "--resume", "--max_minutes", "0")
    assert f"resumed from {run / 'models/state/previous.pth'}" in capsys.readouterr().out
