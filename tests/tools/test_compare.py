"""Networks, predictions of other programs and finished evaluations in one table."""

import json
import os
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import eval_elite360m
from datasets import build_dataset
from datasets.preparation.synthetic_layouts import write_dataset
from datasets.synthetic import SyntheticRooms
from networks.checkpoint import DEFAULT_WEIGHTS, ModelSettings, load_checkpoint
from networks.saved_network import save_checkpoint
from options.elite360m import compare_parser, eval_parser
from tests.metrics.test_resizing import interpolated
from tools import compare
from utils.errors import UserError

DATA = ["--dataset", "Synthetic", "--num_val", "3", "--num_workers", "0", "--device", "cpu"]
PROTOCOL = ["--protocol", "unifuse", "da2", "pager"]
BACKBONE = "timm:test_efficientnet"


def options_of(*arguments: str) -> Namespace:
    return compare_parser().parse_args([*arguments, *DATA, "--batch_size", "2"])


@pytest.fixture(scope="module")
def rooms() -> SyntheticRooms:
    return SyntheticRooms("test", 3, 32, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, rooms) -> Path:
    """Two checkpoints, and the first one's predictions in files and its evaluation."""
    folder = tmp_path_factory.mktemp("compared")
    for i, name in enumerate(("first", "second")):
        torch.manual_seed(i)
        settings = ModelSettings(
            BACKBONE,
            ("depth", "normal", "segmentation"),
            2,
            32,
            64,
            "Synthetic",
            rooms.classes.names,
            rooms.classes.colors,
            fusion="none",
        )
        save_checkpoint(folder / f"{name}.pth", settings, settings.build_network(), nn.Identity(), epoch=1)
    network = load_checkpoint(folder / "first.pth").build_network().eval()
    (folder / "files").mkdir()
    for sample in (rooms[i] for i in range(3)):
        with torch.no_grad():
            depth, normal, logits = (x[0] for x in network(sample["rgb"][None]).values())
        arrays = {"depth": depth[0], "normal": normal.movedim(0, -1), "labels": logits.argmax(0)}
        np.savez(folder / "files" / f"{Path(sample['id']).name}.npz", **arrays)
    declared = {"size": [32, 64], "unit": "m", "frame": "camera", "classes": rooms.classes.names}
    (folder / "files/predictions.json").write_text(json.dumps(declared))
    line = [*DATA, *PROTOCOL, "--backbone", BACKBONE, "--load_weights_dir", str(folder / "first.pth")]
    eval_elite360m.main(eval_parser().parse_args([*line, "--log_dir", str(folder / "eval")]))
    return folder


def evaluation(folder: Path) -> Path:
    return next(folder.glob("eval/*/*"))


@pytest.mark.slow
def test_all_sources(folder, tmp_path, capsys):
    """A network has the same metrics as checkpoint, files and evaluation; another network has others."""
    entries = {"net": "first.pth", "other": "second.pth", "files": "files", "done": evaluation(folder)}
    of = [f"{name}={folder / path}" for name, path in entries.items()]
    out = tmp_path / "out"
    compare.main(
        options_of("--of", *of, *PROTOCOL, "--trivial", "--cost", "--report", "--images", "2", "--out", str(out))
    )
    content = json.loads((out / "comparison.json").read_text())
    results = {name: one["results"] for name, one in content["predictions"].items()}
    assert list(results) == [*entries, compare.BASELINE]
    for task, metrics in results["net"].items():
        for name in ("files", "done"):
            assert {key: results[name][task][key] for key in metrics} == pytest.approx(metrics, rel=1e-4), (task, name)
    assert results["other"]["depth"]["rms"] != results["net"]["depth"]["rms"]
    assert {"rms_unifuse", "rms_da2", "rms_pager"} <= results[compare.BASELINE]["depth"].keys()
    costs = {name: one["cost"] for name, one in content["predictions"].items() if one["cost"]}
    assert costs.keys() == {"net", "other"}
    page = (out / "comparison.html").read_text()
    assert page.count("<article>") == 2 * 3, "two images per task"
    assert "| da2 | files |" in capsys.readouterr().out
    with pytest.raises(UserError, match="--overwrite"):
        compare.main(options_of("--of", *of, "--out", str(out)))


def test_default_weights(folder, tmp_path):
    """`default` means the weights in the repository; a path to a folder of that name does not."""
    (tmp_path / "default").symlink_to(folder / "files")
    of = ["--of", "net=default", f"files={tmp_path / 'default'}"]
    line = [*of, "--task", "depth", "--height", "32", "--width", "64", "--out", str(tmp_path / "out")]
    compare.main(options_of(*line))
    predictions = json.loads((tmp_path / "out/comparison.json").read_text())["predictions"]
    paths = {name: Path(one["path"]) for name, one in predictions.items()}
    assert paths == {"net": DEFAULT_WEIGHTS, "files": tmp_path / "default"}


@pytest.mark.parametrize(
    ("of", "more", "named"),
    [
        (["a={folder}/eval/*/*"], [], "protocol"),
        (["a={folder}/eval/*/*"], [*PROTOCOL, "--num_val", "2"], "num_images"),
        (["a={folder}/first.pth", "a={folder}/second.pth"], [], "--of"),
        (["a={folder}/nothing"], [], "nothing"),
        (["a={folder}/files"], ["--turn", "0", "10", "0"], "--turn"),
        (["a={folder}/files"], ["--zoom", "2", "--task", "depth"], "--zoom"),
    ],
)
def test_user_errors(folder, tmp_path, of, more, named):
    of = [text.format(folder=folder).replace(f"{folder}/eval/*/*", str(evaluation(folder))) for text in of]
    options = compare_parser().parse_args(["--of", *of, "--out", str(tmp_path / "out"), *DATA, *more])
    with pytest.raises(UserError, match=named) as info:
        compare.main(options)
    assert "\n" not in str(info.value)
    assert not (tmp_path / "out").exists()


def test_turn(folder, tmp_path):
    """Full turns change nothing, turning upside down does."""
    metrics = []
    for turn in ("0 0 0", "360 -360 0", "0 0 180"):
        out = tmp_path / turn
        of = ["--of", f"net={folder / 'first.pth'}"]
        compare.main(options_of(*of, "--task", "depth", "--turn", *turn.split(), "--out", str(out)))
        predictions = json.loads((out / "comparison.json").read_text())["predictions"]
        metrics.append(predictions["net"]["results"]["depth"]["rms"])
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-5)
    assert metrics[2] != pytest.approx(metrics[0], rel=1e-4)


def test_at_truth_size(folder, tmp_path):
    """Predictions of network and files are enlarged alike; rms against a plain formula."""
    write_dataset("S2D3D", 1, tmp_path / "tree", height=64)
    samples = (
        build_dataset("S2D3D", tmp_path / "tree", "test", 64, 128),
        build_dataset("S2D3D", tmp_path / "tree", "test", 32, 64),
    )
    large, small = (dataset[0] for dataset in samples)
    network = load_checkpoint(folder / "first.pth").build_network().eval()
    with torch.no_grad():
        depth = network(small["rgb"][None])["depth"][0].numpy()
    (tmp_path / "files").mkdir()
    np.save(tmp_path / "files" / f"{Path(small['id']).stem}_depth.npy", depth[0])
    (tmp_path / "files/predictions.json").write_text(json.dumps({"size": [32, 64], "unit": "m"}))
    line = ["--of", f"net={folder / 'first.pth'}", f"files={tmp_path / 'files'}", "--protocol", "pager", "unifuse"]
    line += ["--dataset", "S2D3D", "--dataset_rootdir", str(tmp_path / "tree"), "--task", "depth", "--num_workers", "0"]
    error = interpolated(depth, (64, 128)) - large["depth"].numpy()
    rms_at_truth = np.sqrt((error[large["depth_mask"].numpy()] ** 2).mean())
    rms = np.sqrt(((depth - small["depth"].numpy())[small["depth_mask"].numpy()] ** 2).mean())
    for flags, expected in ((["--at_truth_size"], rms_at_truth), ([], rms)):
        out = tmp_path / f"out{len(flags)}"
        compare.main(compare_parser().parse_args([*line, *flags, "--clamp_depth", "none", "--out", str(out)]))
        predictions = json.loads((out / "comparison.json").read_text())["predictions"]
        for name in ("net", "files"):
            assert predictions[name]["results"]["depth"]["rms"] == pytest.approx(expected, rel=1e-5)
        assert predictions["net"]["results"]["depth"] == pytest.approx(predictions["files"]["results"]["depth"])


def test_mask(folder, tmp_path):
    """A white mask changes nothing, another mask does."""
    metrics = []
    for value in (255, 0):
        mask = np.full((64, 128), 255, np.uint8)
        mask[:, :64] = value
        cv2.imwrite(str(tmp_path / "mask.png"), mask)
        out = tmp_path / f"{value}"
        of = ["--of", f"net={folder / 'first.pth'}", "--mask", str(tmp_path / "mask.png")]
        compare.main(options_of(*of, "--out", str(out)))
        predictions = json.loads((out / "comparison.json").read_text())["predictions"]
        metrics.append(predictions["net"]["results"])
    plain = json.loads((evaluation(folder) / "results.json").read_text())["results"]
    for task, name in (("depth", "rms"), ("normal", "mean"), ("segmentation", "pixAcc")):
        assert metrics[0][task][name] == pytest.approx(plain[task][name], rel=1e-5)
        assert metrics[1][task][name] != pytest.approx(plain[task][name], rel=1e-4)


def test_out_must_be_writable(folder, tmp_path, monkeypatch):
    """Checked before the evaluation."""
    (tmp_path / "file").touch()
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path / "read-only" and access(path, mode))
    (tmp_path / "read-only").mkdir()
    for out in ("file", "file/out", "read-only", "read-only/out"):
        with pytest.raises(UserError, match="--out"):
            compare.main(options_of("--of", f"a={folder / 'first.pth'}", "--out", str(tmp_path / out)))


def test_names_are_required(capsys):
    with pytest.raises(SystemExit):
        options_of("--of", "somewhere", "--out", "x")
    assert "NAME=PATH" in capsys.readouterr().err
