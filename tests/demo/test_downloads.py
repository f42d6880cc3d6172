"""Downloads of predictions that are kept in memory."""

import base64
import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh

from datasets.classes import STANFORD2D3D
from demo.downloads import ALL, Downloads
from networks.checkpoint import ModelSettings
from prediction import PanoramaPrediction

RGB = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)


@pytest.fixture
def prediction():
    """8x16 pixels, without labels."""
    names, colors = STANFORD2D3D.names, STANFORD2D3D.colors
    settings = ModelSettings("Elite360M_Res18", ("depth", "normal"), 2, 8, 16, "Synthetic", names, colors)
    normal = np.tile(np.float32([0, 0, -1]), (8, 16, 1))
    return PanoramaPrediction(RGB[::8, ::8], settings, np.full((8, 16), 2, np.float32), normal, seam={"depth": 0.5})


@pytest.fixture
def downloads(prediction):
    model = SimpleNamespace(settings=prediction.settings, precision="32 bits", path="a.pth", sha256="1f", epoch=3)
    return Downloads(model)


def content(file: dict) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(file["data"]))


def test_files(downloads, prediction):
    key = downloads.add("hall.jpg (129x64, resized to 2:1)", RGB, prediction)
    assert [kind for kind, _ in downloads.kinds] == ["depth", "normal", "panel", "ply", "glb", "mesh", ALL]
    ply = downloads.file(key, "ply")
    assert ply["name"] == "hall_points.ply"
    assert len(trimesh.load(content(ply), file_type="ply").vertices) == 8 * 16
    (mesh,) = trimesh.load(content(downloads.file(key, "mesh")), file_type="glb").geometry.values()
    assert np.array_equal(mesh.visual.material.baseColorTexture.convert("RGB"), RGB), "the whole image"
    depth = downloads.file(key, "depth")
    assert depth["name"] == "hall_depth.zip"
    assert sorted(zipfile.ZipFile(content(depth)).namelist()) == ["hall_depth.npy", "hall_depth.png"]
    everything = zipfile.ZipFile(content(downloads.file(key, ALL)))
    description = json.loads(everything.read("hall.json"))
    assert {*description["files"], "hall.json"} == set(everything.namelist())
    assert (description["seam"], description["depth"]["unit"]) == ({"depth": 0.5}, "metres along the ray")


def test_last_results_are_kept(downloads, prediction):
    keys = [downloads.add(f"{number}.png", RGB, prediction) for number in range(9)]
    assert "again" in downloads.file(keys[0], "panel")["error"]
    assert downloads.file(keys[1], "panel")["name"] == "1_panel.png"
    assert len(set(keys)) == 9
