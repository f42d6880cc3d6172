"""Training, evaluation and prediction of panoramas from end to end, on a few small rooms."""

import argparse
import csv
import hashlib
import json
import re
import runpy
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import trimesh
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import eval_elite360m
import predict_elite360m
import train_elite360m
from datasets.preparation.synthetic_layouts import write_dataset
from datasets.synthetic import SyntheticRooms
from networks.backbones import folder_of
from networks.checkpoint import load_checkpoint
from networks.released_weights import released_key
from networks.saved_network import save_checkpoint
from options.elite360m import eval_parser, train_parser
from options.groups import PREDICTION_KINDS
from options.panorama_prediction import predict_parser
from tasks import TASKS
from tasks.epoch_end import EpochEnd
from tests.processes import Launch
from utils.errors import UserError, exit_on_user_error
from utils.sphere import depth_to_points
from utils.tasks import METERS, RELATIVE
from visual.drawing import save_image
from visual.panels import panel_writer

ROOT = Path(__file__).parents[1]
TRIPLE = "depth_normal_segmentation"
BACKBONE = "timm:test_efficientnet"
BACKBONE_FOLDER = folder_of(BACKBONE)
SMALL_SIZE = ["--height", "32", "--width", "64", "--num_workers", "0", "--batch_size", "2", "--backbone", BACKBONE]
SMALL = ["--dataset", "Synthetic", "--num_val", "3", *SMALL_SIZE]
SHORT = ["--fusion", "none", "--val_split", "val", "--ico_level", "2", "--num_epochs", "2", "--log_frequency", "1"]
SMALL_TRAINING = [*SMALL, *SHORT, "--num_train", "4"]


def without_synthetic_flags(options: argparse.Namespace) -> argparse.Namespace:
    """The options without flags for Synthetic if they are for another dataset."""
    if options.dataset != "Synthetic":
        options.num_train = options.num_val = None
    return options


def train(log_dir: Path, *more: str) -> Path:
    arguments = [*SMALL_TRAINING, "--no_pretrained", "--log_dir", str(log_dir), *more]
    options = without_synthetic_flags(train_parser().parse_args(arguments))
    train_elite360m.main(options)
    return log_dir / options.task / folder_of(options.backbone)


def evaluate(weights: Path, log_dir: Path, *more: str) -> Path:
    options = eval_parser().parse_args([*SMALL, "--load_weights_dir", str(weights), "--log_dir", str(log_dir), *more])
    eval_elite360m.main(without_synthetic_flags(options))
    return log_dir / folder_of(options.backbone) / options.task


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("workdirs")


@pytest.fixture(scope="module")
def run(log_dir):
    torch.manual_seed(0)
    return train(log_dir, "--save_frequency", "2")


@pytest.fixture(scope="module")
def evaluation(log_dir, run, tmp_path_factory):
    return evaluate(log_dir, tmp_path_factory.mktemp("test_uni"), "--trivial", "--report")


def test_files_of_a_training(run):
    for path in (
        *("models/settings.json", "models/weights_last/last_model.pth", "models/weights_2/model.pth"),
        *("depth_models/best_depth_model.pth", "normal_models/best_normal_model.pth"),
        *("semantic_models/best_semantic_model.pth", "depth/result.txt", "normal/result.txt", "semantic/result.txt"),
    ):
        assert (run / path).is_file(), path
    for folder in ("depth", "normal", "semantic"):
        for batch, count in (("1_0", 2), ("1_1", 1), ("2_0", 2), ("2_1", 1)):
            images = list((run / "visual_results" / folder / batch).glob("*.png"))
            assert len(images) == count
            assert cv2.imread(str(images[0])).shape[1] > 700
    assert not (run / "models/weights_1").exists()
    assert not list(run.rglob(".*")), "no temporary files"


def test_settings_of_a_training(run):
    settings = json.loads((run / "models/settings.json").read_text())
    assert settings["options"]["batch_size"] == 2
    assert {"command", "versions", "git_commit", "python", "device"} <= settings.keys()
    assert (run / "depth/result.txt").read_text().count("epoch ") == 2, "a line per epoch"


def test_tensorboard(run):
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    expected = {"loss/total", "run/learning_rate", "run/images_per_second", "run/data_wait_share"}
    for task in TASKS:
        expected |= {f"loss/{task}", f"loss/intermediate_{task}", f"weight/{task}"}
        expected.add(f"validation_{task}/{TASKS[task].best_metric}")
    assert expected <= scalars
    assert [event.step for event in events.Scalars("loss/total")] == [1, 2, 3, 4]
    assert all(np.isfinite(event.value) for event in events.Scalars("loss/total"))
    assert events.Scalars("weight/depth")[0].value == pytest.approx(1, abs=1e-3)
    assert len(events.Tags()["images"]) == 6, "two rooms, three tasks"


def test_best_models(tmp_path, monkeypatch):
    """Each task keeps the model of its best epoch."""
    scores = iter([(0.5, 30, 0.2), (0.4, 31, 0.3), (0.6, 29, 0.1)])

    def validate(*args):
        rms, mean, miou = next(scores)
        return {"depth": {"rms": rms}, "normal": {"mean": mean}, "segmentation": {"mIoU": miou}}

    monkeypatch.setattr(EpochEnd, "validate", validate)
    run = train(tmp_path, "--num_epochs", "3")
    for task, epoch in (("depth", 2), ("normal", 3), ("semantic", 2)):
        assert load_checkpoint(run / f"{task}_models/best_{task}_model.pth").epoch == epoch
    last = torch.load(run / "models/weights_last/last_model.pth", weights_only=True)
    assert last["best_scores"] == {"depth": 0.4, "normal": 29, "segmentation": 0.3}
    assert last["epoch"] == 3
    assert "optimizer" in torch.load(run / "models/state/last.pth", weights_only=True)["parts"]["stepper"]


def test_validation_equals_an_evaluation_of_the_checkpoint(run, tmp_path):
    """The last line of result.txt has the metrics of an evaluation on the validation split."""
    folder = evaluate(run, tmp_path, "--split", "val")
    results = json.loads((folder / "results.json").read_text())["results"]
    for task in TASKS:
        line = (run / TASKS[task].folder / "result.txt").read_text().splitlines()[-1]
        words = line.split()[2:]  # after "epoch 2"
        printed = dict(zip(words[::2], map(float, words[1::2]), strict=True))
        assert printed == pytest.approx({name: results[task][name] for name in printed}, abs=1e-4)


@pytest.mark.slow
def test_the_best_checkpoint_reproduces_its_validation(tmp_path):
    """With averaged weights, which have separate running statistics and index tables."""
    run = train(tmp_path / "train", "--ema_decay", "0.9", "--learning_rate", "1e-2")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if "validation_depth/rms" in line]
    best = min(epochs, key=lambda line: line["validation_depth/rms"])
    folder = evaluate(run / "depth_models/best_depth_model.pth", tmp_path / "test", "--split", "val")
    results = json.loads((folder / "results.json").read_text())["results"]
    for name in ("rms", "abs_rel", "a1"):
        assert results["depth"][name] == pytest.approx(best[f"validation_depth/{name}"], rel=1e-6)


def test_settings_in_the_checkpoint(run):
    settings = load_checkpoint(run / "models/weights_last/last_model.pth").settings
    assert (settings.backbone, settings.ico_level, settings.height, settings.width) == (BACKBONE, 2, 32, 64)
    assert settings.tasks == tuple(TASKS)
    assert "floor" in settings.class_names
    assert "metres" in settings.depth_unit


def test_evaluation(evaluation):
    results = json.loads((evaluation / "results.json").read_text())
    assert results["num_images"] == 3
    assert results["split"] == "test"
    assert (results["height"], results["width"]) == (32, 64), "the size of the training"
    assert len(results["checkpoint"]["sha256"]) == 64
    assert results["results"]["depth"].keys() == results["fixed_map"]["depth"].keys()
    assert results["results"]["depth"].keys() == results["constant"]["depth"].keys() | {"seam"}
    assert not (evaluation / "unfinished").exists()
    for folder in ("depth", "normal", "semantic"):
        assert (evaluation / folder / "result.txt").read_text().startswith("# ")
        assert len(list((evaluation / "visual_results" / folder / "2_0").glob("*.png"))) == 2
    with open(evaluation / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"synthetic/test/{i:06d}" for i in range(3)]
    mean = np.mean([float(row["depth/rms"]) for row in rows])
    assert results["results"]["depth"]["rms"] == pytest.approx(mean)
    text = (evaluation / "depth" / "result.txt").read_text()
    assert f"\nrms: {results['results']['depth']['rms']:.6f}\n" in text


def test_cost(log_dir, run, tmp_path, capsys):
    """Parameters of the checkpoint; multiply-adds grow with the number of pixels. Other sizes are noted."""
    results = {}
    for height in (32, 64):
        size = ["--height", str(height), "--width", str(2 * height), "--num_val", "1"]
        folder = evaluate(log_dir, tmp_path / str(height), *size, "--cost")
        content = json.loads((folder / "results.json").read_text())
        results[height] = content["cost"]
        assert len(content["notes"]) == (height != 32)
        assert all("--height" in note for note in content["notes"])
    network = load_checkpoint(run / "models/weights_last/last_model.pth").build_network()
    assert results[32]["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert 3 < results[64]["multiply_adds"] / results[32]["multiply_adds"] < 4.5
    assert results[32]["ms_per_image"] > 0
    assert results[32]["peak_memory_mib"] is None, "on a CPU"
    assert capsys.readouterr().out.count("M parameters") == 2


def test_predictions_of_another_program(run, evaluation, tmp_path, capsys):
    """Files with a network's predictions have its metrics. A missing file is named, and nothing is written."""
    dataset = SyntheticRooms("test", 3, 32, 64)
    checkpoint = load_checkpoint(run / "models/weights_last/last_model.pth")
    network = checkpoint.build_network().eval()
    folder, log_dir = tmp_path / "theirs", tmp_path / "eval"
    for sample in (dataset[i] for i in range(3)):
        stem = folder / sample["id"]
        stem.parent.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            maps = {task: prediction[0] for task, prediction in network(sample["rgb"][None]).items()}
        np.savez(f"{stem}.npz", depth=1000 * maps["depth"][0], labels=maps["segmentation"].argmax(0))
        np.save(f"{stem}_normal.npy", maps["normal"].movedim(0, -1))
    declaration = {"size": [32, 64], "unit": "mm", "frame": "camera", "classes": dataset.classes.names}
    (folder / "predictions.json").write_text(json.dumps(declaration))
    line = ["--dataset", "Synthetic", "--num_val", "3", "--num_workers", "0", "--predictions", str(folder)]
    options = eval_parser().parse_args([*line, "--log_dir", str(log_dir), "--protocol", "unifuse"])
    eval_elite360m.main(options)
    theirs = json.loads((log_dir / "theirs" / TRIPLE / "results.json").read_text())
    ours = json.loads((evaluation / "results.json").read_text())
    assert theirs["backbone"] == "theirs"
    assert theirs["protocol"]["_unifuse"] == ours["protocol"]["depth"]
    for task, metrics in ours["results"].items():
        assert {name: theirs["results"][task][name] for name in metrics} == pytest.approx(metrics, rel=1e-4), task
    assert theirs["results"]["depth"]["rms_unifuse"] == theirs["results"]["depth"]["rms"]
    assert "depth (unifuse): abs_rel " in capsys.readouterr().out
    next(folder.rglob("*_normal.npy")).unlink()
    options.log_dir = str(tmp_path / "other")
    with pytest.raises(UserError, match="holds no array normal"):
        eval_elite360m.main(options)
    assert not list((tmp_path / "other").rglob("*.*"))


def test_report(evaluation):
    """It has all digits of the metrics in results.json, and every image of every task, the worst first."""
    text = (evaluation / "report.html").read_text(encoding="utf-8")
    results = json.loads((evaluation / "results.json").read_text())
    shown = {key: float(value) for key, value in re.findall(r'data-metric="([^"]*)" data-value="([^"]*)"', text)}
    for kind in ("results", "constant", "fixed_map"):
        for task, metrics in results[kind].items():
            assert metrics == {name: shown.pop(f"{kind}/{task}/{name}") for name in metrics}
            assert ("seam" in metrics) == (kind != "constant")
    assert not shown
    scores = [float(score) for score in re.findall(r'data-score="([^"]*)"', text)]
    with open(evaluation / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for start, key in ((0, "depth/rms"), (3, "normal/mean"), (6, "segmentation/mIoU_occurring")):
        assert scores[start : start + 3] == sorted((float(row[key]) for row in rows), reverse=not key.startswith("seg"))
    assert results["checkpoint"]["sha256"] in text


def test_no_report_by_default(run, tmp_path):
    assert not (evaluate(run, tmp_path, "--task", "depth_segmentation") / "report.html").exists()


def test_baselines(evaluation):
    """Against the rms of each room around the means of rows, and around many constants."""
    rooms = SyntheticRooms("test", 3, 32, 64)
    depths = np.stack([rooms.read(i).depth for i in range(3)]).astype(float)
    results = json.loads((evaluation / "results.json").read_text())

    def rms(prediction: np.ndarray | float) -> float:
        return np.sqrt(((depths - prediction) ** 2).mean(axis=(1, 2))).mean()

    assert results["fixed_map"]["depth"]["rms"] == pytest.approx(rms(depths.mean(axis=(0, 2))[:, None]))
    best = results["constant"]["depth"]["rms"]
    constant = results["baselines"]["values"]["depth"]["rms"]
    assert best == pytest.approx(rms(constant))
    assert best == pytest.approx(min(rms(value) for value in np.linspace(0.5, 5, 1000)), rel=1e-4)
    for task in TASKS:
        assert results["baselines"]["constant"][task]
        assert results["baselines"]["fixed_map"][task]
        text = (evaluation / TASKS[task].folder / "result.txt").read_text()
        assert "constant " in text
        assert "fixed_map " in text


def test_evaluation_does_not_depend_on_the_batch_size(run, evaluation, tmp_path):
    again = evaluate(run, tmp_path, "--batch_size", "1", "--trivial")
    ours, theirs = (json.loads((folder / "results.json").read_text())["results"] for folder in (again, evaluation))
    for task in TASKS:
        assert ours[task] == pytest.approx(theirs[task], rel=1e-3)


def test_evaluation_of_one_task_of_three(run, evaluation, tmp_path):
    """From the checkpoint file: the run folder of --task depth would be another one."""
    folder = evaluate(run / "models/weights_last/last_model.pth", tmp_path, "--task", "depth")
    ours = json.loads((folder / "results.json").read_text())["results"]
    assert ours.keys() == {"depth"}
    assert ours["depth"] == pytest.approx(json.loads((evaluation / "results.json").read_text())["results"]["depth"])


@pytest.mark.slow
def test_training_is_reproducible(run, tmp_path):
    again = train(tmp_path, "--save_frequency", "2")
    assert (again / "depth/result.txt").read_text() == (run / "depth/result.txt").read_text()


def test_initial_weights(run, log_dir, tmp_path):
    """With a learning rate of zero, the weights stay those of the checkpoint."""
    again = train(tmp_path, "--load_weights_dir", str(log_dir), "--learning_rate", "0", "--num_epochs", "1")
    first, second = (load_checkpoint(folder / "models/weights_last/last_model.pth") for folder in (run, again))
    assert torch.equal(first.weighting["log_variances"], second.weighting["log_variances"])
    assert first.weighting["log_variances"].any()
    before, after = first.network, second.network
    assert all(torch.equal(before[key], after[key]) for key in before if "running" not in key and "num_b" not in key)


@pytest.fixture
def panorama(tmp_path):
    path = tmp_path / "images" / "my room.png"
    save_image(path, SyntheticRooms("test", 1, 96, 192).read(0).rgb)
    return path


def predict(checkpoint: Path, image: Path | str, out: Path, *more: str, exit_code: int = 0) -> Path:
    arguments = ["--checkpoint", str(checkpoint), "--input", str(image), "--out", str(out), *more]
    assert predict_elite360m.main(predict_parser().parse_args(arguments)) == exit_code
    return out


def names(folder: Path) -> set[str]:
    """Relative paths of all files in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def results(stem: str, *kinds: str) -> set[str]:
    """Names of the files for these values of --save; without any, for all but glb and mesh."""
    endings = {
        "depth": ["_depth.npy", "_depth.png"],
        "normal": ["_normal.npy", "_normal.png"],
        "labels": ["_labels.png", "_labels_colour.png"],
        "panel": ["_panel.png"],
        "ply": ["_points.ply"],
        "glb": ["_points.glb"],
        "mesh": ["_mesh.glb"],
    }
    chosen = kinds or [kind for kind in PREDICTION_KINDS if kind not in ("glb", "mesh")]
    return {f"{stem}.json", *(stem + ending for kind in chosen for ending in endings[kind])}


@pytest.mark.parametrize("source", ["file", "folder"])
def test_prediction(run, panorama, tmp_path, source):
    out = predict(run, panorama if source == "file" else panorama.parent, tmp_path / "out")
    assert names(out) == results("my room")
    depth, normal = np.load(out / "my room_depth.npy"), np.load(out / "my room_normal.npy")
    assert (depth.shape, depth.dtype) == ((32, 64), np.float32)
    assert 0 < depth.min() <= depth.max() < 10
    assert (normal.shape, normal.dtype) == ((32, 64, 3), np.float32)
    assert np.linalg.norm(normal, axis=-1) == pytest.approx(np.ones((32, 64)), abs=1e-4)
    millimeters = cv2.imread(str(out / "my room_depth.png"), cv2.IMREAD_UNCHANGED)
    assert millimeters.dtype == np.uint16
    assert np.abs(millimeters / 1000 - depth).max() <= 0.5e-3 + 1e-6
    colors = cv2.imread(str(out / "my room_normal.png"))[..., ::-1]
    assert np.abs(colors / 127.5 - 1 - normal).max() <= 1 / 255 + 1e-6
    labels = cv2.imread(str(out / "my room_labels.png"), cv2.IMREAD_UNCHANGED)
    assert (labels.shape, labels.dtype) == ((32, 64), np.uint8)
    assert labels.max() < 13
    classes = json.loads((out / "my room.json").read_text())["labels"]["classes"]
    rgb = {entry["label"]: list(bytes.fromhex(entry["colour"][1:])) for entry in classes}
    with_legend = cv2.imread(str(out / "my room_labels_colour.png"))[..., ::-1]
    assert with_legend.shape[0] > 32
    assert with_legend[5, 7].tolist() == rgb[labels[5, 7]]
    points = trimesh.load(out / "my room_points.ply").vertices
    np.testing.assert_allclose(points, depth_to_points(depth).reshape(-1, 3), atol=1e-5)


def test_json_of_a_prediction(run, panorama, tmp_path):
    out = predict(run, panorama, tmp_path / "out", "--tta", "2")
    description = json.loads((out / "my room.json").read_text())
    assert description["input"] == {
        "path": str(panorama),
        "bytes": panorama.stat().st_size,
        "sha256": hashlib.sha256(panorama.read_bytes()).hexdigest(),
        "width": 192,
        "height": 96,
        "stretched": False,
        "tone_mapping": None,
    }
    assert (description["width"], description["height"]) == (64, 32)
    assert "x right, y down, z forward" in description["axes"]
    assert description["depth"] == {"unit": "metres along the ray", "depth.png": "16 bits, millimetres"}
    assert description["normal"]["frame"] == "camera"
    assert description["labels"]["classes"][8] == {"label": 8, "name": "floor", "colour": "#5a4632"}
    assert description["tta"] == 2
    assert description["seam"].keys() == description["seam_without_tta"].keys() == set(TASKS)
    assert description["seam"] != description["seam_without_tta"]
    assert set(description["files"]) | {"my room.json"} == names(out)
    weights = run / "models/weights_last/last_model.pth"
    model = description["model"]
    assert (model["backbone"], model["tasks"], model["dataset"]) == (BACKBONE, list(TASKS), "Synthetic")
    assert (model["checkpoint"], model["sha256"]) == (str(weights), hashlib.sha256(weights.read_bytes()).hexdigest())
    assert "command" in description


def test_prediction_of_a_single_task(run, panorama, tmp_path):
    settings = replace(load_checkpoint(run / "models/weights_last/last_model.pth").settings, tasks=("normal",))
    normals = tmp_path / "normals.pth"
    save_checkpoint(normals, settings, settings.build_network(), torch.nn.Module(), epoch=1)
    out = predict(normals, panorama, tmp_path / "out")
    assert names(out) == results("my room", "normal", "panel")
    for kind in ("depth", "labels", "ply", "glb", "mesh"):
        with pytest.raises(UserError, match=f"--save {kind}: .* predicts only normal"):
            predict(normals, panorama, tmp_path / "other", "--save", kind)


@pytest.mark.parametrize("kinds", [("depth",), ("labels", "panel"), ("glb", "mesh")])
def test_save_kinds(run, panorama, tmp_path, kinds):
    assert names(predict(run, panorama, tmp_path / "out", "--save", *kinds)) == results("my room", *kinds)


@pytest.fixture
def photos(panorama):
    """A folder tree with two good images and four bad ones."""
    shutil.copytree(panorama.parent, panorama.parent / "up stairs")
    (panorama.parent / "broken.png").write_bytes(panorama.read_bytes()[:1000])
    (panorama.parent / "empty.jpg").touch()
    (panorama.parent / "light.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(100))
    save_image(panorama.parent / "up stairs" / "square.png", np.zeros((64, 64, 3), np.uint8))
    return panorama.parent


GOOD = results("my room") | {f"up stairs/{name}" for name in results("my room")}


@pytest.mark.parametrize("pattern", ["", "/**/*.*"])
def test_bad_images_are_skipped(run, photos, tmp_path, capsys, pattern):
    out = predict(run, f"{photos}{pattern}", tmp_path / "out", exit_code=1)
    assert names(out) == GOOD
    captured = capsys.readouterr()
    failures = sorted(
        line.removeprefix("failed: ") for line in captured.err.splitlines() if line.startswith("failed: ")
    )
    assert failures == [
        f"{photos}/broken.png is truncated",
        f"{photos}/empty.jpg is not an image, or is damaged",
        f"{photos}/light.exr is an OpenEXR file, which this OpenCV cannot read: convert it to .hdr",
        f"{photos}/up stairs/square.png is 64x64: a full panorama is twice as wide as high (--force stretches it; "
        "--vfov or --crop says which part of the sphere it shows; --cubemap reads faces of a cube)",
    ]
    assert f"2 predicted, 0 exist already, 4 failed: {out}\n" in captured.out
    assert "seam score: depth " in captured.out


def test_stretched_images(run, photos, tmp_path):
    out = predict(run, photos / "up stairs", tmp_path / "out", "--force")
    assert names(out) == results("my room") | results("square")
    assert json.loads((out / "square.json").read_text())["input"]["stretched"]
    assert not json.loads((out / "my room.json").read_text())["input"]["stretched"]


def test_existing_predictions_are_skipped(run, photos, tmp_path, capsys):
    out = predict(run, photos, tmp_path / "out", exit_code=1)
    (out / "my room_panel.png").unlink()
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}

    def rewritten() -> set[str]:
        return {str(path.relative_to(out)) for path, time in times.items() if path.stat().st_mtime_ns != time}

    predict(run, photos, out, exit_code=1)
    assert "1 predicted, 1 exist already, 4 failed" in capsys.readouterr().out
    assert names(out) == GOOD
    assert rewritten() == results("my room") - {"my room_panel.png"}, "one of its files was missing"
    predict(run, photos, out, "--save", "glb", exit_code=1)
    assert "2 predicted, 0 exist already" in capsys.readouterr().out, "other files"
    predict(run, photos, out, "--overwrite", exit_code=1)
    assert "2 predicted, 0 exist already" in capsys.readouterr().out


def test_other_predictions_are_not_replaced(run, panorama, tmp_path):
    out = predict(run, panorama, tmp_path / "out")
    with pytest.raises(UserError, match=r"my room.json .*--overwrite"):
        predict(run, panorama, out, "--tta", "2")
    with pytest.raises(UserError, match=r"my room.json .*--overwrite"):
        predict(run / "models/weights_2/model.pth", panorama, out)
    predict(run, panorama, out, "--tta", "2", "--overwrite")
    assert json.loads((out / "my room.json").read_text())["tta"] == 2
    (out / "my room.json").write_text("{}")
    with pytest.raises(UserError, match="--overwrite"):
        predict(run, panorama, out)


def test_a_replaced_panorama_is_predicted_again(run, panorama, tmp_path, capsys):
    image = panorama.with_suffix(".bmp")
    save_image(image, cv2.imread(str(panorama)))
    out = predict(run, image, tmp_path / "out")
    first, size = np.load(out / "my room_depth.npy"), image.stat().st_size
    save_image(image, cv2.imread(str(panorama))[:, ::-1].copy())
    assert image.stat().st_size == size
    predict(run, image, out)
    assert "1 predicted, 0 exist already" in capsys.readouterr().out.splitlines()[-1]
    assert not np.array_equal(np.load(out / "my room_depth.npy"), first)


def test_predictions_do_not_overwrite_each_other_or_the_input(run, panorama, tmp_path):
    save_image(panorama.with_suffix(".jpg"), np.zeros((64, 128, 3), np.uint8))
    out = predict(run, panorama.parent, tmp_path / "out")
    assert names(out) == results("my room.jpg") | results("my room.png")
    with pytest.raises(UserError, match="--out"):
        predict(run, panorama, panorama.parent)


def test_evaluation_of_averaged_views(run, evaluation, tmp_path):
    """The plain network is evaluated, too, with the results of an evaluation without --tta."""
    folder = evaluate(run, tmp_path, "--tta", "2")
    averaged, plain = (json.loads((path / "results.json").read_text()) for path in (folder, evaluation))
    assert (averaged["tta"], plain["tta"]) == (2, 1)
    for task in TASKS:
        assert averaged["plain"][task] == pytest.approx(plain["results"][task])
        if task != "segmentation":  # labels may be constant
            assert averaged["results"][task]["seam"] != pytest.approx(plain["results"][task]["seam"])
        assert 0 <= plain["results"][task]["seam"] <= 32
        lines = (folder / TASKS[task].folder / "result.txt").read_text().splitlines()
        assert f"seam: {averaged['results'][task]['seam']:.6f}" in lines
        assert f"plain seam: {plain['results'][task]['seam']:.6f}" in lines
    assert "plain" not in plain
    with open(evaluation / "per_image.csv", newline="") as file:
        scores = [float(row["depth/seam"]) for row in csv.DictReader(file)]
    assert plain["results"]["depth"]["seam"] == pytest.approx(np.mean(scores))


def test_user_errors(run, log_dir, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        evaluate(tmp_path / "nowhere", tmp_path)
    with pytest.raises(UserError, match=f"--backbone {BACKBONE}"):
        evaluate(run, tmp_path, "--backbone", "Elite360M_Res34")
    with pytest.raises(UserError, match="--cross_task coco"):
        train(tmp_path, "--cross_task", "none", "--load_weights_dir", str(run))
    with pytest.raises(UserError, match="twice as wide as high"):
        train(tmp_path, "--height", "100", "--width", "200")
    with pytest.raises(UserError, match="--gpu_devices"):
        train(tmp_path, "--gpu_devices", "0", "1")
    with pytest.raises(UserError, match="does not exist"):
        predict(run, tmp_path / "nowhere.png", tmp_path)


def test_evaluation_reads_the_backbone_from_the_checkpoint(run, tmp_path):
    given = [*SMALL, "--load_weights_dir", str(run), "--log_dir", str(tmp_path)]
    options = eval_parser().parse_args(given)
    options.backbone = None  # as if it were not given
    eval_elite360m.main(options)
    results = json.loads((tmp_path / BACKBONE_FOLDER / TRIPLE / "results.json").read_text())
    assert results["backbone"] == BACKBONE


def evaluate_as_a_script(weights: Path, log_dir: Path, rank: int, num_processes: int) -> None:
    with exit_on_user_error():
        evaluate(weights, log_dir, "--split", "val")


@pytest.mark.slow
def test_user_error_in_several_processes(run, tmp_path):
    """All exit with the same line: none waits for another, or prints a traceback."""
    evaluate(run, tmp_path)
    log = tmp_path / "log"
    assert Launch(partial(evaluate_as_a_script, run, tmp_path), 2, log).exit_codes() == [2, 2]
    output = log.read_text()
    assert "Traceback" not in output
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert 1 <= len(lines) <= 2
    assert len(set(lines)) == 1
    assert "--overwrite" in lines[0]


def run_program(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: str) -> int:
    """Run a script as a program, but in this process, which has already imported torch. Returns: the exit code."""
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    with pytest.raises(SystemExit) as info:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    return info.value.code


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("train_elite360m.py", [*SMALL, "--log_dir", "{0}/out", "--load_weights_dir", "{0}/none"]),
        ("eval_elite360m.py", [*SMALL, "--log_dir", "{0}/out", "--load_weights_dir", "{0}/none"]),
        ("predict_elite360m.py", ["--checkpoint", "{0}/none", "--input", "{0}/none", "--out", "{0}/out"]),
    ],
)
def test_user_errors_are_one_line_with_exit_code_2(script, flags, tmp_path, monkeypatch, capfd):
    assert run_program(monkeypatch, script, *(flag.format(tmp_path) for flag in flags)) == 2
    printed, error = capfd.readouterr()
    assert error.startswith("error: ")
    assert f"{tmp_path / 'none'} does not exist" in error
    assert error.count("\n") == 1
    assert not printed or script == "train_elite360m.py"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "nothing is written"


def test_failed_download(tmp_path, monkeypatch, capfd):
    """The client's offline mode fails at once, like a missing network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    command = [*SMALL_TRAINING, "--backbone", "Elite360M_Res18", "--log_dir", str(tmp_path)]
    assert run_program(monkeypatch, "train_elite360m.py", *command) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: the ImageNet weights of resnet18.tv_in1k could not be downloaded")
    assert "--no_pretrained" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*/*/models")), "nothing is written"


def train_in_process(arguments: list[str], *_) -> None:
    train_elite360m.main(train_parser().parse_args(arguments))


@pytest.mark.slow
def test_two_processes_train(tmp_path):
    """With torchrun and torch.distributed.launch, see the documented commands, which CI runs."""
    arguments = [*SMALL_TRAINING, "--no_pretrained", "--log_dir", str(tmp_path), "--gpu_devices", "0", "1"]
    Launch(partial(train_in_process, arguments), 2).wait()
    run = tmp_path / TRIPLE / BACKBONE_FOLDER
    trained = load_checkpoint(run / "models/weights_last/last_model.pth")
    assert not [key for key in trained.network if "module." in key]
    assert (run / "depth/result.txt").read_text().count("epoch ") == 2


def evaluate_in_process(arguments: list[str], *_) -> None:
    evaluate(*map(Path, arguments[:2]), *arguments[2:])


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_evaluate_like_one(processes, tmp_path, log_dir, evaluation):
    """Three images: two processes have different numbers of images, each of which counts once."""
    arguments = [str(log_dir), str(tmp_path), "--trivial", "--report"]
    Launch(partial(evaluate_in_process, arguments), processes).wait()
    folders = (tmp_path / BACKBONE_FOLDER / TRIPLE, evaluation)
    together, single = (json.loads((folder / "results.json").read_text()) for folder in folders)
    assert together["num_images"] == 3
    assert together["baselines"]["values"] == single["baselines"]["values"]
    for kind in ("results", "constant", "fixed_map"):
        for task in TASKS:
            assert together[kind][task] == pytest.approx(single[kind][task], rel=1e-3)
    pages = [(folder / "report.html").read_text(encoding="utf-8") for folder in folders]
    for pattern in (r'data-index="([^"]*)"', r'data-count="([^"]*)"', r"of [\d,]+ pixels"):
        ours, theirs = (re.findall(pattern, page) for page in pages)
        assert ours == theirs, "same images, order and numbers of pixels"
        assert ours
    for pattern in (r'data-fraction="([^"]*)"', r'data-score="([^"]*)"', r'data-mean="([^"]*)"'):
        ours, theirs = ([float(value) for value in re.findall(pattern, page)] for page in pages)
        assert ours == pytest.approx(theirs, rel=1e-2, abs=1e-4)
        assert ours


@pytest.fixture(scope="module")
def structured(tmp_path_factory):
    root = tmp_path_factory.mktemp("Struc3D")
    write_dataset("Struc3D", num=3, out=root, height=32)
    return root


@pytest.fixture
def on_disk(structured, tmp_path):
    """Options for a copy of a small Structured3D, and the root of the copy."""
    root = shutil.copytree(structured, tmp_path / "Struc3D")
    return ["--dataset", "Struc3D", "--dataset_rootdir", str(root)], root


@pytest.fixture(scope="module")
def printed_and_run_on_disk(structured, tmp_path_factory):
    """The output of a training on the small Structured3D, and its run folder."""
    options = ["--dataset", "Struc3D", "--dataset_rootdir", str(structured), "--num_epochs", "1", "--fusion", "b2f"]
    with redirect_stdout(StringIO()) as printed:
        run = train(tmp_path_factory.mktemp("on_disk"), *options)
    return printed.getvalue(), run


@pytest.fixture
def run_on_disk(printed_and_run_on_disk):
    return printed_and_run_on_disk[1]


def test_a_dataset_on_disk(printed_and_run_on_disk, on_disk, tmp_path, capsys):
    """The unit of depth is printed, and saved in the checkpoint and with the metrics."""
    options, _ = on_disk
    printed, run = printed_and_run_on_disk
    assert "Struc3D, split train: 3 panoramas of the 18334 of the complete dataset" in printed
    settings = load_checkpoint(run / "models/weights_last/last_model.pth").settings
    assert settings.depth_unit == "relative: the largest depth of each image is 10"
    assert len(settings.class_names) == 25
    folder = evaluate(run, tmp_path / "eval", *options)
    assert "depth in relative" in capsys.readouterr().out
    results = json.loads((folder / "results.json").read_text())
    assert (results["num_images"], results["num_skipped"]) == (3, 0)
    assert results["depth_unit"] == settings.depth_unit
    assert "# depth unit: relative" in (folder / "depth/result.txt").read_text()


def test_dataset_folder(tmp_path, capsys):
    """Train on depth, evaluate, and fine-tune for all tasks. A resumed run rejects a changed dataset.json."""
    root = tmp_path / "data"
    write_dataset("Folder", num=1, out=root, height=32)
    complete = json.loads((root / "dataset.json").read_text())
    description = {key: complete[key] for key in ("files", "depth", "splits")}
    description["files"] = {kind: complete["files"][kind] for kind in ("rgb", "depth")}
    (root / "dataset.json").write_text(json.dumps(description))
    own = ["--dataset", "Folder", "--dataset_rootdir", str(root)]
    with pytest.raises(UserError, match=r"dataset\.json .*--task depth,"):
        train(tmp_path, *own)
    depth = [*own, "--task", "depth", "--num_epochs", "1"]
    run = train(tmp_path, *depth)
    settings = load_checkpoint(run / "models/weights_last/last_model.pth").settings
    assert (settings.dataset, settings.class_names, settings.depth_unit) == ("Folder", (), METERS)
    folder = evaluate(run, tmp_path / "eval", *own, "--task", "depth")
    assert json.loads((folder / "results.json").read_text())["num_images"] == 1

    (root / "dataset.json").write_text(json.dumps(description | {"depth": {"unit": 0.002}}))
    with pytest.raises(UserError, match="--dataset_rootdir"):
        train(tmp_path, *depth, "--resume")
    (root / "dataset.json").write_text(json.dumps(description | {"depth": {"unit": "relative"}}))
    with pytest.raises(UserError, match="--allow_mismatch depth"):
        evaluate(run, tmp_path / "eval", *own, "--task", "depth")
    with pytest.raises(UserError, match="--protocol da2"):
        evaluate(run, tmp_path / "other", *own, "--task", "depth", "--allow_mismatch", "depth", "--protocol", "da2")

    (root / "dataset.json").write_text(json.dumps(complete))
    capsys.readouterr()
    tuned = train(tmp_path, *own, "--num_epochs", "1", "--load_weights_dir", str(run))
    new = next(line for line in capsys.readouterr().out.splitlines() if "new, with random weights" in line)
    assert all(words in new for words in ("all of normal", "all of segmentation"))
    assert load_checkpoint(tuned / "models/weights_last/last_model.pth").settings.class_names[0] == "beam"


def test_mismatches_are_rejected(run_on_disk, on_disk, tmp_path, capsys):
    """With --allow_mismatch, they are printed and written to the results."""
    run, (options, _) = run_on_disk, on_disk
    for flags, named in (
        (["--metric_depth"], "--metric_depth.*--allow_mismatch depth"),
        (["--normal_frame", "world"], "--normal_frame.*--allow_mismatch normal"),
        (["--metric_depth", "--normal_frame", "world"], "--allow_mismatch depth normal"),
        (["--metric_depth", "--normal_frame", "world", "--allow_mismatch", "depth"], "--allow_mismatch normal"),
    ):
        with pytest.raises(UserError, match=named):
            evaluate(run, tmp_path / "eval", *options, *flags)
    assert not (tmp_path / "eval").exists()
    evaluate(run, tmp_path / "other", *options, "--metric_depth", "--task", "normal_segmentation")
    allowed = ["--metric_depth", "--allow_mismatch", "depth", "--report"]
    folder = evaluate(run, tmp_path / "eval", *options, *allowed)
    assert "mismatch: " in capsys.readouterr().out
    assert "# depth unit: metres along the ray" in (folder / "depth/result.txt").read_text()
    mismatch = json.loads((folder / "results.json").read_text())["mismatches"]["depth"]
    assert (mismatch["predicted"], mismatch["truth"]) == (RELATIVE, METERS)
    for name in ("depth/result.txt", "report.html"):
        assert "mismatch: " in (folder / name).read_text(), name


def test_evaluating_released_weights(run, tmp_path, capsys):
    """A note states that the meaning of their predictions is unknown."""
    settings = load_checkpoint(run / "models/weights_last/last_model.pth").settings
    network = replace(settings, backbone="Elite360M_Res18", fusion="b2f").build_network()
    state = {f"module.{released_key(key)}": value for key, value in network.state_dict().items()}
    size = ["--height", "32", "--width", "64"]
    torch.save(state | {"module.log_var_list": torch.zeros(3)}, tmp_path / "released.pth")
    capsys.readouterr()
    folder = evaluate(tmp_path / "released.pth", tmp_path / "eval", *size, "--backbone", "Elite360M_Res18")
    assert capsys.readouterr().out.count("are not compared") == 1
    results = json.loads((folder / "results.json").read_text())
    assert results["mismatches"] == {}
    assert "are not compared" in results["notes"][0]


@pytest.mark.slow
def test_results_of_another_evaluation_are_not_replaced(run, tmp_path):
    """Without --overwrite. The same evaluation may be repeated."""
    folder = evaluate(run, tmp_path, "--report")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for weights, flags, named in (
        (run / "models/weights_2/model.pth", ["--split", "val"], "--split test instead of val"),
        (run / "normal_models/best_normal_model.pth", ["--tta", "2"], "--tta 1 instead of 2"),
        (run / "normal_models/best_normal_model.pth", ["--amp", "bf16"], "float32 instead of bfloat16"),
        (run, ["--height", "64", "--width", "128"], "--height 32 instead of 64"),
        (run, ["--num_val", "2"], "number of panoramas 3 instead of 2"),
    ):
        with pytest.raises(UserError, match=f"{named}.*--overwrite"):
            evaluate(weights, tmp_path, *flags)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    evaluate(run, tmp_path, "--batch_size", "1", "--trivial")
    evaluate(run, tmp_path, "--split", "val", "--overwrite")
    assert json.loads((folder / "results.json").read_text())["split"] == "val"
    assert not (folder / "report.html").exists()


def test_another_list_is_another_evaluation(run_on_disk, on_disk, tmp_path):
    """Even in a file of the same name. A failing evaluation leaves earlier results unchanged."""
    run, (options, root) = run_on_disk, on_disk
    panoramas = [str(path.parent.relative_to(root)) for path in sorted(root.rglob("rgb_rawlight.png"))]
    names = ("rgb_rawlight", "depth", "semantic", "normal")
    lines = [" ".join(f"{folder}/{name}.png" for name in names) for folder in panoramas]
    listed = tmp_path / "list.txt"
    listed.write_text(lines[0])
    folder = evaluate(run, tmp_path / "eval", *options, "--val_list", str(listed))
    listed.write_text(lines[1])
    with pytest.raises(UserError, match=r"--val_list.*--overwrite"):
        evaluate(run, tmp_path / "eval", *options, "--val_list", str(listed))
    before = (folder / "results.json").read_bytes()
    (root / panoramas[1] / "normal.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"normal\.png"):
        evaluate(run, tmp_path / "eval", *options, "--val_list", str(listed), "--overwrite")
    assert (folder / "results.json").read_bytes() == before


def test_a_task_without_ground_truth(run_on_disk, on_disk, tmp_path, capsys):
    """It is printed, its metrics are null, and its charts are omitted."""
    run, (options, root) = run_on_disk, on_disk
    for path in root.rglob("semantic.png"):
        save_image(path, np.zeros((32, 64), np.uint8))  # no labels
    capsys.readouterr()
    folder = evaluate(run, tmp_path / "eval", *options, "--report", "--trivial")
    assert capsys.readouterr().out.count("segmentation: no panorama has ground truth") == 1
    results = json.loads((folder / "results.json").read_text())
    for kind in ("results", "constant", "fixed_map"):
        metrics = results[kind]["segmentation"]
        assert {name: value for name, value in metrics.items() if name != "seam"} == {
            **dict.fromkeys(TASKS["segmentation"].metric.metric_names),
        }
    assert results["results"]["segmentation"]["seam"] > 0
    assert results["results"]["depth"]["rms"] > 0
    assert "no panorama has ground truth" in (folder / "semantic" / "result.txt").read_text()
    page = (folder / "report.html").read_text()
    assert 'data-no-ground-truth="segmentation"' in page
    assert 'aria-label="confusion matrix"' not in page


def test_non_finite_metrics_are_empty_cells(run, tmp_path):
    content = torch.load(run / "models/weights_last/last_model.pth", weights_only=True)
    for key, value in content["network"].items():
        if "heads.normal" in key:
            value.fill_(3e38)  # finite, but its products are not
    torch.save(content, tmp_path / "diverged.pth")
    folder = evaluate(tmp_path / "diverged.pth", tmp_path / "eval", "--report")
    with open(folder / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["normal/mean"] for row in rows] == [""] * 3
    assert all(float(row["segmentation/pixAcc"] or 0) >= 0 for row in rows if "segmentation/pixAcc" in row)
    assert "nan" not in (folder / "per_image.csv").read_text()


def test_ctrl_c_during_evaluation(run, tmp_path, monkeypatch, capfd):
    """One line; its files are removed, and earlier results are unchanged."""
    before = evaluate(run, tmp_path).joinpath("results.json").read_bytes()
    folder = tmp_path / BACKBONE_FOLDER / TRIPLE
    unfinished = folder / "unfinished"

    def panel_writer_with_ctrl_c(*arguments) -> Callable:
        draw = panel_writer(*arguments)

        def draw_and_interrupt(*batch) -> None:
            draw(*batch)
            assert (unfinished / "visual_results").exists()
            signal.raise_signal(signal.SIGINT)

        return draw_and_interrupt

    monkeypatch.setattr("reports.evaluation.panel_writer", panel_writer_with_ctrl_c)
    handler = signal.getsignal(signal.SIGINT)
    capfd.readouterr()
    try:
        command = [*SMALL, "--load_weights_dir", str(run), "--log_dir", str(tmp_path), "--overwrite"]
        assert run_program(monkeypatch, "eval_elite360m.py", *command) == 130
    finally:
        signal.signal(signal.SIGINT, handler)
    error = capfd.readouterr().err
    assert error.splitlines()[-1] == "interrupted"
    assert "Traceback" not in error
    assert not unfinished.exists()
    assert (folder / "results.json").read_bytes() == before


@pytest.mark.slow
def test_fine_tuning_with_differences(run_on_disk, on_disk, tmp_path, capsys):
    """Another unit of depth is printed; another network is rejected."""
    options, _ = on_disk
    flags = [*options, "--num_epochs", "1", "--load_weights_dir", str(run_on_disk)]
    train(tmp_path / "second", *flags, "--metric_depth", "--fusion", "b2f", "--b2f", "corrected")
    printed = capsys.readouterr().out
    assert RELATIVE in printed
    assert "--b2f released (not corrected)" in printed
    with pytest.raises(UserError, match=r"--fusion b2f \(not none\)"):
        train(tmp_path / "third", *flags, "--fusion", "none")


def test_bad_samples(on_disk, tmp_path, capsys):
    options, root = on_disk
    damaged = root / "scene_03250/2D_rendering/2/panorama/full/normal.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    (root / "scene_00000/2D_rendering/1/panorama/full/depth.png").unlink()
    run = train(tmp_path / "train", *options, "--num_epochs", "1", "--skip_bad_samples")
    error = capsys.readouterr().err
    assert "1 bad sample was skipped:" in error
    assert "scene_00000/2D_rendering/1/panorama/full/depth.png is missing" in error
    folder = evaluate(run, tmp_path / "eval", *options, "--skip_bad_samples", "--trivial")
    results = json.loads((folder / "results.json").read_text())
    assert (results["num_images"], results["num_skipped"]) == (2, 1)
    error = capsys.readouterr().err
    assert error.count("scene_03250/2D_rendering/2/panorama/full/normal.png") == 1
    with pytest.raises(UserError, match=r"scene_03250/2D_rendering/2/panorama/full/normal\.png"):
        evaluate(run, tmp_path / "again", *options)


def test_a_bad_sample_is_one_line_and_exit_code_2(on_disk, tmp_path, monkeypatch, capfd):
    """From a worker process, after which training continues as the message says."""
    options, root = on_disk
    damaged = root / "scene_03250/2D_rendering/2/panorama/full/normal.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    more = [*options, "--val_split", "test", "--num_epochs", "1", "--num_workers", "1"]
    command = [*SMALL_SIZE, *SHORT, "--no_pretrained", "--log_dir", str(tmp_path), *more]
    assert run_program(monkeypatch, "train_elite360m.py", *command) == 2
    errors = capfd.readouterr().err
    message = errors.strip().splitlines()[-1]
    assert message.startswith(f"error: {damaged} is truncated; ")
    assert "--skip_bad_samples" in message
    assert "--resume" in message
    assert "Traceback" not in errors
    run = train(tmp_path, *more, "--resume", "--skip_bad_samples")
    assert f"1 bad sample was skipped:\n  {damaged} is truncated\n" in capfd.readouterr().err
    weights = ["--load_weights_dir", str(run), "--log_dir", str(tmp_path / "eval")]
    assert run_program(monkeypatch, "eval_elite360m.py", *SMALL_SIZE, *options, *weights, "--num_workers", "1") == 2
    message = capfd.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(f"error: {damaged} is truncated; ")
    assert "--skip_bad_samples" in message
    assert "--resume" not in message
