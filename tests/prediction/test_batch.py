"""Errors in one image do not stop the others."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import predict_elite360m
from options.panorama_prediction import predict_parser
from prediction.model import PanoramaModel
from prediction.result_files import ResultFiles
from utils.errors import INTERRUPTED, UserError
from visual.drawing import save_image

ROOT = Path(__file__).parents[2]
NAMES = ("a", "b", "c")


@pytest.fixture
def photos(tmp_path):
    for number, name in enumerate(NAMES):
        save_image(tmp_path / "photos" / f"{name}.png", np.full((32, 64, 3), 60 * number, np.uint8))
    return tmp_path / "photos"


@pytest.fixture
def predict(checkpoint, photos, tmp_path):
    """Predicts the photos in this process; returns the exit code."""

    def predict(*more: str) -> int:
        arguments = ["--checkpoint", checkpoint, "--input", photos, "--out", tmp_path / "out", "--save", "depth", *more]
        return predict_elite360m.main(predict_parser().parse_args(list(map(str, arguments))))

    return predict


def predicted_stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.rglob("*.json")}


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unexpected\nin two lines"),
        MemoryError(),
        OSError(errno.EIO, "Input/output error"),
        UserError("b.png cannot be used"),
        ValueError(""),
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        "prediction.panorama_files.read_image",
        "prediction.model.PanoramaModel.predict_batch",
        "prediction.result_files.save_image",
    ],
)
def test_errors_are_one_line(predict, photos, tmp_path, monkeypatch, capsys, error, place):
    calls = []

    def fail_once(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise error
        return original(*args, **kwargs)

    module, _, name = place.rpartition(".")
    owner = sys.modules.get(module) or PanoramaModel
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, fail_once)
    assert predict() == 1
    assert predicted_stems(tmp_path / "out") == {"a", "c"}
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line]
    assert line.startswith("failed: ")
    assert "b.png" in line
    assert "2 predicted, 0 exist already, 1 failed" in captured.out


def test_batches(predict, photos, tmp_path, monkeypatch, capsys):
    """An unreadable image does not count for the size of a batch; the last batch is smaller."""
    sizes = []
    original = PanoramaModel.predict_batch
    monkeypatch.setattr(
        PanoramaModel,
        "predict_batch",
        lambda self, images, tta: sizes.append(len(images)) or original(self, images, tta),
    )
    (photos / "aa.png").write_bytes(b"no image")
    assert predict() == 1
    single = {name: np.load(tmp_path / "out" / f"{name}_depth.npy") for name in NAMES}
    assert predict("--batch_size", "2", "--overwrite") == 1
    assert sizes == [1, 1, 1, 2, 1]
    for name, depth in single.items():
        np.testing.assert_allclose(np.load(tmp_path / "out" / f"{name}_depth.npy"), depth, rtol=1e-4)
        description = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert (description["input"]["width"], description["input"]["height"]) == (64, 32)
        assert description["precision"] == "float32"
    captured = capsys.readouterr()
    assert "aa.png" in captured.err
    assert "3 predicted, 0 exist already, 1 failed" in captured.out


def test_failed_batch(predict, tmp_path, monkeypatch, capsys):
    """All images of a batch that does not fit into a GPU's memory are named; later ones are predicted."""
    original = PanoramaModel.predict_batch

    def predict_batch(self, images, tta):
        if len(images) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, images, tta)

    monkeypatch.setattr(PanoramaModel, "predict_batch", predict_batch)
    assert predict("--batch_size", "2") == 1
    lines = capsys.readouterr().err.splitlines()
    assert [name for line in lines for name in NAMES if f"{name}.png does not fit" in line] == ["a", "b"]
    assert predicted_stems(tmp_path / "out") == {"c"}


def test_other_precision_needs_overwrite(predict, tmp_path):
    assert predict("--amp", "bf16") == 0
    assert json.loads((tmp_path / "out" / "a.json").read_text())["precision"] == "bfloat16"
    with pytest.raises(UserError, match=r"a\.json .*precision.*--overwrite"):
        predict()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(predict, tmp_path, monkeypatch, capsys, number):
    writes = Path.write_bytes

    def write_bytes(path, data):
        if path.suffix == ".npy" and predicted_stems(tmp_path / "out"):
            raise OSError(number, os.strerror(number))
        return writes(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(UserError, match=f"b\\.png .*{os.strerror(number)}") as raised:
        predict()
    assert "\n" not in str(raised.value)
    assert "1 predicted, 0 exist already, 0 failed" in capsys.readouterr().out
    assert predicted_stems(tmp_path / "out") == {"a"}
    assert not list((tmp_path / "out").glob(".*"))


def test_skipped_files_are_counted_in_the_last_line(predict, photos, capsys):
    for name in ("a.heic", "b.heic", "c.pdf"):
        (photos / name).touch()
    assert predict() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 other files skipped: 2 .heic, 1 .pdf"


def test_unwritable_folder_is_reported_before_predicting(predict, photos, tmp_path, monkeypatch):
    (tmp_path / "out").touch()
    monkeypatch.setattr("prediction.model.PanoramaModel.predict_batch", lambda *_: pytest.fail("predicted"))
    with pytest.raises(UserError, match=r"--out .*out"):
        predict()


def test_foreign_results_are_reported_before_writing(predict, photos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c.json").write_text("{}")
    with pytest.raises(UserError, match=r"c\.json .*--overwrite"):
        predict()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["c.json"]


def test_images_with_the_same_stem(predict, photos, tmp_path, capsys):
    """One is added later, then the other is removed: its results are not those of the new one."""
    assert predict() == 0
    save_image(photos / "a.jpg", np.full((32, 64, 3), 200, np.uint8))
    assert predict() == 0
    assert predicted_stems(tmp_path / "out") == {"a", "a.jpg", "a.png", "b", "c"}
    (photos / "a.png").unlink()
    capsys.readouterr()
    assert predict() == 1
    captured = capsys.readouterr()
    assert "0 predicted, 2 exist already, 1 failed" in captured.out
    assert "a.json" in captured.err
    assert json.loads((tmp_path / "out" / "a.json").read_text())["input"]["path"].endswith("a.png")


@pytest.mark.slow
def test_interrupted(checkpoint, photos, tmp_path):
    for i in range(300):
        (photos / f"{i}.png").symlink_to("a.png")
    out = tmp_path / "out"
    command = [sys.executable, "predict_elite360m.py", "--checkpoint", checkpoint, "--input", photos, "--out", out]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not predicted_stems(out) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    (line,) = errors.splitlines()
    assert f"{len(predicted_stems(out))} predicted" in line
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_while_writing(predict, tmp_path, monkeypatch, capsys, number):
    """The results are completed and counted, and no temporary folder is left."""
    write = ResultFiles.write

    def interrupted_write(*args):
        signal.raise_signal(number)
        return write(*args)

    monkeypatch.setattr(ResultFiles, "write", interrupted_write)
    assert predict() == INTERRUPTED
    assert "1 predicted" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "a_depth.npy", "a_depth.png"]
