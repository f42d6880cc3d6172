"""Prediction of perspective image files by predict_achievement.py."""

import json

import cv2
import numpy as np
import pytest
import trimesh
from PIL import Image

import predict_achievement
import predict_elite360m
from options.achievement import parse_prediction
from options.panorama_prediction import predict_parser
from utils.errors import UserError
from utils.pinhole import Pinhole
from utils.tasks import ALONG_AXIS
from visual.drawing import save_image


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("hall", (48, 64)), ("up/door", (60, 30)), ("wide", (20, 40))):
        save_image(tmp_path / "photos" / f"{name}.png", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    return tmp_path / "photos"


@pytest.fixture
def predict(perspective_checkpoint, photos, tmp_path):
    """Predicts the photos in this process; returns the exit code."""

    def predict(*more: object) -> int:
        arguments = ["--checkpoint", perspective_checkpoint, "--input", photos, "--out", tmp_path / "out", *more]
        return predict_achievement.main(parse_prediction(list(map(str, arguments))))

    return predict


def read_description(out, name: str) -> dict:
    return json.loads((out / f"{name}.json").read_text())


def test_files(predict, tmp_path, capsys):
    """Maps have the size of their image; the folders of the input are mirrored."""
    assert predict("--save", "depth", "normal", "labels", "panel", "ply", "glb", "mesh", "--fov", "90") == 0
    out = tmp_path / "out"
    for name, (height, width) in (("hall", (48, 64)), ("up/door", (60, 30)), ("wide", (20, 40))):
        depth = np.load(out / f"{name}_depth.npy")
        assert (depth.shape, depth.dtype) == ((height, width), np.float32)
        millimeters = cv2.imread(str(out / f"{name}_depth.png"), cv2.IMREAD_UNCHANGED)
        assert np.abs(millimeters / 1000 - depth.clip(0)).max() < 0.6e-3
        assert np.load(out / f"{name}_normal.npy").shape == (height, width, 3)
        assert cv2.imread(str(out / f"{name}_labels.png"), cv2.IMREAD_UNCHANGED).shape == (height, width)
        points = trimesh.load(out / f"{name}_points.ply").vertices
        expected = Pinhole.from_fov(90, height, width).points(depth)[depth > 0]
        np.testing.assert_allclose(points, expected, atol=1e-5)
        (read,) = trimesh.load(out / f"{name}_points.glb").geometry.values()
        np.testing.assert_allclose(read.vertices * (1, -1, -1), expected, atol=1e-5)
        (mesh,) = trimesh.load(out / f"{name}_mesh.glb").geometry.values()
        assert mesh.visual.material.baseColorTexture.size == (width, height)
        assert (out / f"{name}_panel.png").is_file()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "cameras: --fov (3)"
    assert "warning: 1 " in printed[1], "an image that may be a panorama"
    assert "predict_elite360m.py" in printed[1]
    assert printed[2] == f"3 predicted, 0 exist already, 0 failed: {out}"


def test_description(predict, perspective_settings, tmp_path):
    assert predict("--save", "depth", "--intrinsics", 50, 40, 10, 12, "--batch_size", 2) == 0
    description = read_description(tmp_path / "out", "up/door")
    assert description["camera"] == {"source": "--intrinsics", "fx": 50, "fy": 40, "cx": 10, "cy": 12}
    assert description["camera_asked_for"] == "--intrinsics 50 40 10 12"
    assert description["depth"]["unit"] == ALONG_AXIS
    assert "x right, y down, z forward (the optical axis)" in description["axes"]
    assert [one["name"] for one in description["labels"]["classes"]] == list(perspective_settings.class_names)
    assert (description["input"]["width"], description["input"]["height"]) == (30, 60)
    assert (description["model"]["height"], description["model"]["width"], description["model"]["epoch"]) == (48, 64, 7)
    assert not {"seam", "tta", "width"} & description.keys()


def test_other_camera_needs_overwrite(predict, tmp_path, capsys):
    assert predict("--save", "ply") == 0
    assert "cameras: NYU v2's (3)" in capsys.readouterr().out
    assert predict("--save", "ply") == 0
    assert "0 predicted, 3 exist already" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"\.json .*--fov.*--overwrite"):
        predict("--save", "ply", "--fov", 60)
    assert predict("--save", "ply", "--fov", 60, "--overwrite") == 0


def test_focal_length_in_exif(predict, photos, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(photos / "phone.jpg", exif=exif)
    assert predict("--save", "labels") == 0
    camera = read_description(tmp_path / "out", "phone")["camera"]
    assert camera["source"] == "EXIF"
    assert camera["fx"] == pytest.approx(26 * 100 / np.hypot(36, 24))
    assert read_description(tmp_path / "out", "hall")["camera"]["source"] == "NYU v2's"


def test_bad_images_do_not_stop_the_others(predict, photos, tmp_path, capsys):
    """A damaged image, and images that do not fit --intrinsics."""
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    assert predict("--save", "depth", "--intrinsics", 50, 50, 31, 23, "--batch_size", 3) == 1
    captured = capsys.readouterr()
    failed = [line for line in captured.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 3
    assert "broken.jpg" in failed[0]
    assert "--intrinsics" in failed[1]
    assert "up/door.png" in failed[1]
    assert "wide.png" in failed[2]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.json")) == ["hall.json"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--fov", "0"],
        ["--fov", "180"],
        ["--fov", "nan"],
        ["--intrinsics", "0", "5", "1", "1"],
        ["--intrinsics", "5", "5", "1"],
        ["--intrinsics", "5", "5", "-1", "inf"],
        ["--fov", "60", "--intrinsics", "5", "5", "1", "1"],
    ],
)
def test_wrong_cameras(predict, capsys, flags):
    with pytest.raises(SystemExit) as info:
        predict(*flags)
    assert info.value.code == 2
    error = capsys.readouterr().err
    assert flags[0] in error
    assert error.count("\n") == 1


def test_checkpoint_of_the_other_program(checkpoint, perspective_checkpoint, photos, tmp_path):
    arguments = ["--input", str(photos), "--out", str(tmp_path / "out"), "--checkpoint"]
    with pytest.raises(UserError, match=r"predict_elite360m\.py"):
        predict_achievement.main(parse_prediction([*arguments, str(checkpoint)]))
    with pytest.raises(UserError, match=r"predict_achievement\.py"):
        predict_elite360m.main(predict_parser().parse_args([*arguments, str(perspective_checkpoint)]))
    assert not (tmp_path / "out").exists()
