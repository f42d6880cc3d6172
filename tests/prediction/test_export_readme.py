"""The README's way to feed an exported network, which CI runs as it stands."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from prediction import load_elite360m
from tests.tools.test_export import SMALL, export, write_checkpoint

ROOT = Path(__file__).parents[2]
IMAGE = "docs/example_room.png"
SNIPPETS = [
    code
    for language, code in runpy.run_path(str(ROOT / ".ci/readme_commands.py"))["blocks"]("export")
    if language == "python"
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With the files that the snippets name, and the checkpoint."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("readme")
    checkpoint = write_checkpoint(folder / "model.pth", SMALL)
    for name in ("elite360m.onnx", "elite360m.pt2"):
        export(checkpoint, folder / name)
    (folder / "docs").mkdir()
    shutil.copy(ROOT / IMAGE, folder / IMAGE)
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    return load_elite360m(folder / "model.pth", device="cpu").predict(folder / IMAGE)


def deviation(code: str, expected) -> float:
    """Largest difference of the snippet's depth from prediction's, relative to the largest depth."""
    variables: dict = {}
    exec(code, variables)
    depth = np.asarray(torch.as_tensor(variables["depth"]))[0, 0]
    return float(np.abs(depth - expected.depth).max() / expected.depth.max())


@pytest.mark.parametrize("code", SNIPPETS, ids=["onnx", "torch"])
def test_snippets_predict_what_the_program_does(folder, expected, monkeypatch, code):
    monkeypatch.chdir(folder)
    assert deviation(code, expected) < 1e-4
    variables: dict = {}
    exec(code, variables)
    labels = np.asarray(torch.as_tensor(variables["labels"]))[0]
    assert (labels != expected.labels).mean() < 1e-2


@pytest.mark.parametrize("code", SNIPPETS, ids=["onnx", "torch"])
@pytest.mark.parametrize(
    ("correct", "wrong"),
    [("INTER_AREA", "INTER_LINEAR"), ("INTER_AREA", "INTER_NEAREST"), ("COLOR_RGB", "COLOR_BGR"), ("/ 255", "/ 256")],
)
def test_any_other_way_differs(folder, expected, monkeypatch, code, correct, wrong):
    """Or the comparison would show nothing."""
    monkeypatch.chdir(folder)
    assert correct in code
    assert deviation(code.replace(correct, wrong), expected) > 1e-4


def test_there_is_one_for_each_format():
    assert len(SNIPPETS) == 2
