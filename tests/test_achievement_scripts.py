"""The second program from end to end, on a few small images."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import eval_achievement
import predict_achievement
import train_achievement
from datasets.perspective import PerspectiveDataset, unpack
from datasets.preparation.nyu_layouts import write_nyu_dataset
from datasets.synthetic_nyu import SyntheticNYU
from networks.achievement_checkpoint import load_achievement_checkpoint
from options.achievement import parse_evaluation, parse_prediction, parse_training
from options.perspective import run_folder_of
from reports import perspective_evaluation
from tasks import FOLDERS
from tasks.fitting import DIVERGED
from tests.processes import Launch
from tests.tiny import assert_identical
from training.run_folder import RunFolder
from utils.errors import UserError
from visual.drawing import save_image

ROOT = Path(__file__).parents[1]
SMALL = [
    *("--train_dataset", "SyntheticNYU", "--size", "48", "64", "--num_val", "2", "--num_workers", "0"),
    *("--basenet", "mobilenet_v2", "--skip_connection", "4", "--normal_size", "8", "--batch_size", "2"),
]
TRAINING = [*SMALL, "--num_train", "3", "--no_pretrained", "--warmup_epoch", "0", "--display_freq", "1"]
AMTL = ["--loss_metric", "amtl", "--potential", "0.4", "0.8", "0.5"]
ONE_STEP = ["--max_minutes", "0"]
PLATEAU = ["--model-ema", "--scheduler", "plateau", "--patience", "0"]


def train(root_folder: Path, *more: str) -> RunFolder:
    options = parse_training([*TRAINING, "--root_folder", str(root_folder), *more])
    train_achievement.main(options)
    return RunFolder(run_folder_of(options), FOLDERS)


def evaluate(root_folder: Path, weights: Path, *more: str) -> dict:
    options = parse_evaluation([*SMALL, "--root_folder", str(root_folder), "--ckpt", str(weights), *more])
    eval_achievement.main(options)
    folder = run_folder_of(options) / f"evaluation_{options.split}"
    return json.loads((folder / "results.json").read_text())


def user_error(function, *arguments) -> str:
    """The message of a user error, which is one short line."""
    with pytest.raises(UserError) as info:
        function(*arguments)
    message = str(info.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def lines_of(run: RunFolder) -> list[dict]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


@pytest.fixture(scope="module")
def root_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workdirs")


@pytest.fixture(scope="module")
def run(root_folder):
    torch.manual_seed(0)
    return train(root_folder, *AMTL, "--max_epoch", "1")


def test_files_of_a_training(run, root_folder):
    assert run.root == root_folder / "DeepLab_mobilenet_v2_SyntheticNYU_48x64" / "test"
    for path in (run.last_model, run.best_of_all, run.state, run.settings):
        assert path.is_file(), path
    step, *validation = lines_of(run)
    assert {"loss/total", "loss/segmentation", "weight/depth", "run/learning_rate"} <= step.keys()
    assert step["run/learning_rate"] == pytest.approx(1e-3 * 2 / 32)
    assert [line["epoch"] for line in validation] == [1, 1, 1], "a line per task"
    settings = load_achievement_checkpoint(run.last_model).settings
    assert (settings.tasks, settings.dataset) == (("segmentation", "depth", "normal"), "SyntheticNYU")
    assert settings.source["classes"] == 40


def test_evaluation(run, root_folder):
    """Metrics equal those of the validation; results contain facts about the data."""
    results = evaluate(root_folder, run.root)
    *_, validation = [line for line in lines_of(run) if "validation_normal/mean" in line]
    assert results["results"]["normal"]["mean"] == pytest.approx(validation["validation_normal/mean"])
    assert {"rms", "rms_per_image", "d1"} <= results["results"]["depth"].keys()
    assert {"mean", "mean_per_pixel"} <= results["results"]["normal"].keys()
    assert results["source"]["classes"] == 40
    assert (results["height"], results["width"], results["num_images"]) == (48, 64, 2)
    folder = run.root / "evaluation_test"
    for name in ("depth/result.txt", "normal/result.txt", "semantic/result.txt", "per_image.csv"):
        assert (folder / name).is_file(), name
    assert "--overwrite" in user_error(evaluate, root_folder, run.root, "--num_val", "1")


def test_evaluation_with_channels_last(run, root_folder, monkeypatch):
    """The same metrics, in float32, whatever the precision of the training."""
    before = evaluate(root_folder, run.root)["results"]["normal"]
    seen = []

    def evaluate_and_record(network, *arguments, **more):
        network.backbone.register_forward_hook(lambda module, inputs, features: seen.append(features["fine"]))
        return evaluate_network(network, *arguments, **more)

    evaluate_network = perspective_evaluation.evaluate
    monkeypatch.setattr(perspective_evaluation, "evaluate", evaluate_and_record)
    after = evaluate(root_folder, run.root, "--channels_last", "--amp", "bf16", "--overwrite")["results"]["normal"]
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[0].dtype == torch.float32
    assert after == pytest.approx(before, rel=1e-3)


def test_prediction(run, tmp_path, capsys):
    """For an image of twice the training size, with the run folder as checkpoint."""
    save_image(tmp_path / "room.png", SyntheticNYU("test", 1, 96, 128).read(0).rgb)
    line = ["--checkpoint", str(run.root), "--input", str(tmp_path / "room.png"), "--out", str(tmp_path / "out")]
    assert predict_achievement.main(parse_prediction(line)) == 0
    assert "1 predicted" in capsys.readouterr().out
    description = json.loads((tmp_path / "out" / "room.json").read_text())
    assert {"room_panel.png", "room_points.ply", "room_labels.png", "room_normal.npy"} <= set(description["files"])
    assert all((tmp_path / "out" / name).is_file() for name in description["files"])
    assert np.load(tmp_path / "out" / "room_depth.npy").shape == (96, 128)
    assert len(description["labels"]["classes"]) == 40
    assert description["camera"]["fx"] == pytest.approx(518.8579 / 5), "NYU v2's, for 640 columns"


def test_bad_samples(tmp_path, capsys):
    """In the validation of a training, which can be resumed without the sample, and in evaluation."""
    write_nyu_dataset("NYUv2-M", 2, tmp_path / "NYUD_MT", 48)
    damaged = tmp_path / "NYUD_MT" / "val" / "depth" / "1.npy"
    damaged.write_bytes(damaged.read_bytes()[:100])
    more = ["--app", "depth", "--test_dataset", "NYUv2", "--dataset_root", str(tmp_path), "--max_epoch", "1"]
    message = user_error(train, tmp_path, *more)
    assert str(damaged) in message
    assert "--skip_bad_samples" in message
    assert "--resume" in message
    run = train(tmp_path, *more, "--resume", "--skip_bad_samples")
    assert f"1 bad sample was skipped:\n  {damaged}" in capsys.readouterr().err
    message = user_error(evaluate, tmp_path, run.root, *more)
    assert str(damaged) in message
    assert "--skip_bad_samples" in message
    assert "--resume" not in message


def test_resuming_with_other_options(run, root_folder):
    assert "--resume" in user_error(train, root_folder, *AMTL)
    assert "--batch_size" in user_error(train, root_folder, *AMTL, "--resume", "--batch_size", "3")


@pytest.mark.slow
def test_initial_weights(run, tmp_path):
    """With a learning rate of 0 they stay. Those of another architecture are rejected."""
    flags = ["--ckpt", str(run.root), "--max_epoch", "1", "--lr", "0"]
    before, after = (
        load_achievement_checkpoint(path).network for path in (run.last_model, train(tmp_path, *flags).last_model)
    )
    for name, value in before.items():
        assert torch.equal(after[name], value) or "running" in name or "tracked" in name, name
    assert "--skip_connection" in user_error(train, tmp_path, *flags, "--skip_connection", "0", "--overwrite")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--num_train", "1"], "--batch_size"),
        (["--train_dataset", "NYUv2"], "--num_train"),
        (["--train_dataset", "NYUv2", "--test_dataset", "SyntheticNYU"], "--dataset_root"),
        (["--normals", "x"], "--normals"),
        (["--loss_metric", "amtl"], "--potential"),
        (["--ckpt", "/nowhere"], "/nowhere"),
        (["--loss_metric", "grad-norm", "--amp"], "fp16"),
    ],
)
def test_wrong_options(tmp_path, more, named):
    assert named in user_error(train, tmp_path, *more)
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.slow
@pytest.mark.parametrize("more", [PLATEAU, ["--loss_metric", "dwa"]])
def test_resuming_is_exact(tmp_path, more):
    """Stopped after one step and resumed, a run ends with the same state, bit for bit."""
    more = ["--max_epoch", "2", "--num_train", "5", *more]
    whole = train(tmp_path / "whole", *more)
    stopped = train(tmp_path / "stopped", *more, *ONE_STEP)
    progress = torch.load(stopped.state, weights_only=True)["parts"]["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 1)
    resumed = train(tmp_path / "stopped", *more, "--resume")
    states = [torch.load(run.state, weights_only=True) for run in (whole, resumed)]
    assert states[0]["parts"]["stepper"]["steps_done"] == 4
    for state in states:
        del state["signature"], state["parts"]["log"]["metrics_size"]
    assert_identical(*states)
    networks = [load_achievement_checkpoint(run.last_model).network for run in (whole, resumed)]
    assert_identical(*networks)


@pytest.mark.slow
def test_potentials_of_single_task_trainings(tmp_path):
    runs = {}
    for task in ("segmentation", "depth", "normal"):
        runs[task] = train(tmp_path, "--app", task, "--subfolder", task, "--max_epoch", "1")
    known = {task: max(line.get(f"accuracy/{task}", 0) for line in lines_of(run)) for task, run in runs.items()}
    known = {task: value for task, value in known.items() if value > 0}
    assert known
    more = ["--app", *known, "--loss_metric", "amtl", "--max_epoch", "1", "--subfolder", "all"]
    run = train(tmp_path, *more, "--potential_from", *(str(runs[task].root) for task in known))
    balancing = json.loads(run.settings.read_text())["balancing"]
    assert balancing["potential"] == pytest.approx(known)
    other = ["--size", "64", "64", "--potential_from", *(str(runs[task].root) for task in known)]
    assert "--size" in user_error(train, tmp_path, *more, *other)


def train_in_processes(root_folder: Path, number: int, num_processes: int) -> None:
    train(root_folder, "--max_epoch", "1", "--num_train", "4")


def evaluate_in_processes(root_folder: Path, number: int, num_processes: int) -> None:
    evaluate(root_folder, root_folder)


@pytest.mark.slow
def test_two_processes(tmp_path):
    """Training and evaluation; the learning rate is scaled to the images of both."""
    Launch(partial(train_in_processes, tmp_path), 2).wait()
    Launch(partial(evaluate_in_processes, tmp_path), 2).wait()
    [metrics] = tmp_path.glob("*/test/metrics.jsonl")
    rates = [line["run/learning_rate"] for line in map(json.loads, metrics.open()) if "run/learning_rate" in line]
    assert rates == pytest.approx([1e-3 * 4 / 32])
    [results] = tmp_path.glob("*/test/evaluation_test/results.json")
    assert json.loads(results.read_text())["num_images"] == 2


@pytest.mark.slow
def test_non_finite_steps_abort_the_training(tmp_path, monkeypatch, capsys):
    """With an exit code and a saved state."""
    monkeypatch.setattr(PerspectiveDataset, "unpack", staticmethod(broken))
    with pytest.raises(SystemExit) as info:
        train(tmp_path, "--num_train", "6", "--max_bad_steps", "2", "--max_epoch", "1")
    assert info.value.code == DIVERGED
    assert "2 steps" in capsys.readouterr().err
    assert list(tmp_path.rglob("last.pth"))


def broken(packed: dict, device: torch.device | str = "cpu") -> dict:
    batch = unpack(packed, device)
    return batch | {"rgb": batch["rgb"] * torch.nan}
