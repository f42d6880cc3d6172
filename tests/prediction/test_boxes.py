"""Boxes in photographs, in pixels of the image: as arrays and files."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import predict_achievement
from datasets.voc import VOC_CLASSES
from networks.achievement_checkpoint import AchievementSettings
from networks.saved_network import save_checkpoint
from options.achievement import parse_prediction
from options.panorama_prediction import predict_parser
from prediction import load_achievement
from tests.visual.test_boxes import CAR, CAT, prediction_of
from utils.errors import UserError
from visual.boxes import FIELDS
from visual.drawing import save_image

SIZE = (64, 64)
SETTINGS = AchievementSettings(
    backbone="mobilenet_v2",
    tasks=("detection",),
    height=SIZE[0],
    width=SIZE[1],
    dataset="VOC",
    class_names=VOC_CLASSES.names,
    class_colours=VOC_CLASSES.colors,
    arch="VMM",
    normal_size=8,
)
# Detections in an image of 200x100 (width x height), padded below to a square: (class, score, corners / size)
DETECTIONS = [
    (CAR, 0.9, (0.25, 0.125, 0.5, 0.375)),
    (CAT, 0.4, (0.51, 0.25, 1.25, 0.75)),
    (CAT, 0.8, (0.0, 0.6, 0.5, 0.9)),
]
PIXELS = [[CAR, 0.9, 50, 25, 100, 75], [CAT, 0.4, 102, 50, 200, 100]]  # the last one is in the padding


def saved(folder, tasks: tuple[str, ...]):
    torch.manual_seed(0)
    settings = replace(SETTINGS, tasks=tasks)
    path = folder / f"{'+'.join(tasks)}.pth"
    save_checkpoint(path, settings, settings.build_network(), torch.nn.Module(), epoch=1)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("weights"), SETTINGS.tasks)


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)


def detect(rgb: torch.Tensor) -> dict[str, torch.Tensor]:
    """A predictor of DETECTIONS in each image."""
    return {"detection": prediction_of(DETECTIONS, SIZE).expand(len(rgb), -1, -1)}


def test_boxes_are_in_pixels_of_the_image(checkpoint, rgb, monkeypatch):
    """Boxes in the padding are dropped. Portrait images are padded on the right."""
    model = load_achievement(checkpoint, "cpu")
    monkeypatch.setattr(model, "_predictor", detect)
    result = model.predict(rgb)
    assert result.boxes.dtype == np.float32
    np.testing.assert_allclose(result.boxes, PIXELS, atol=1e-3)
    np.testing.assert_allclose(model.predict(rgb, min_score=0.5).boxes, PIXELS[:1], atol=1e-3)
    assert (result.depth, result.normal, result.labels) == (None, None, None)
    portrait = model.predict(rgb.transpose(1, 0, 2).copy()).boxes
    expected = [[CAR, 0.9, 50, 25, 100, 75], [CAT, 0.8, 0, 120, 100, 180]]
    np.testing.assert_allclose(portrait, expected, atol=1e-3)
    with pytest.raises(UserError, match="depth"):
        result.point_cloud()


def test_panel_of_a_large_image(checkpoint, rgb, monkeypatch):
    """It shows every third pixel, with the boxes in the same place."""
    model = load_achievement(checkpoint, "cpu")
    monkeypatch.setattr(model, "_predictor", detect)
    panel = model.predict(np.zeros((1200, 2400, 3), np.uint8)).panel()
    color = VOC_CLASSES.colors[CAR]
    assert panel.shape[1] == 2 * 800
    assert tuple(panel[22 + 200, 800 + 200]) == color, "the left side is at a quarter of the width"
    assert not panel[22 + 200, 800 + 250].any()


def predict(checkpoint, folder, *more: object) -> int:
    arguments = ["--checkpoint", checkpoint, "--input", folder / "photo.png", "--out", folder / "out", *more]
    return predict_achievement.main(parse_prediction(list(map(str, arguments))))


def test_files(checkpoint, rgb, monkeypatch, tmp_path, capsys):
    """Boxes with class names as .json, and drawn on the image."""
    save_image(tmp_path / "photo.png", rgb)
    monkeypatch.setattr("prediction.trained_model.predictor_of", lambda *_: detect)
    assert predict(checkpoint, tmp_path) == 0
    printed = capsys.readouterr().out
    assert "boxes: 2 in 1 of 1 images, with scores of 0.3" in printed
    assert "camera" not in printed, "there are no points"
    out = tmp_path / "out"
    names = ["photo.json", "photo_boxes.json", "photo_boxes.png", "photo_panel.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    boxes = json.loads((out / "photo_boxes.json").read_text())
    assert [list(box) for box in boxes] == [list(FIELDS)] * 2
    assert [box["class"] for box in boxes] == ["car", "cat"]
    found = [[box[name] for name in FIELDS[1:]] for box in boxes]
    np.testing.assert_allclose(found, [row[1:] for row in PIXELS], atol=1e-2)
    drawn = cv2.imread(str(out / "photo_boxes.png"))[..., ::-1]
    assert drawn.shape == (200, 400, 3), "too small for text, so it is enlarged"
    assert tuple(drawn[100, 100]) == VOC_CLASSES.colors[CAR]
    np.testing.assert_array_equal(drawn[150:, :90:2], rgb[75:, :45].repeat(2, axis=0))
    description = json.loads((out / "photo.json").read_text())
    assert description["boxes"]["min_score"] == 0.3
    assert description["num_boxes"] == 2
    assert description["files"] == names[1:]


def test_other_min_score_needs_overwrite(checkpoint, rgb, monkeypatch, tmp_path):
    save_image(tmp_path / "photo.png", rgb)
    monkeypatch.setattr("prediction.trained_model.predictor_of", lambda *_: detect)
    assert predict(checkpoint, tmp_path, "--save", "boxes") == 0
    with pytest.raises(UserError, match=r"--min_score.*--overwrite"):
        predict(checkpoint, tmp_path, "--save", "boxes", "--min_score", 0.5)
    assert predict(checkpoint, tmp_path, "--save", "boxes", "--min_score", 0.5, "--overwrite") == 0
    boxes = json.loads((tmp_path / "out" / "photo_boxes.json").read_text())
    assert [box["class"] for box in boxes] == ["car"]


def test_all_tasks_of_a_network(rgb, tmp_path):
    """Boxes, maps and points, with random weights."""
    save_image(tmp_path / "photo.png", rgb)
    checkpoint = saved(tmp_path, ("detection", "segmentation", "depth", "normal"))
    assert predict(checkpoint, tmp_path, "--min_score", 0) == 0
    description = json.loads((tmp_path / "out" / "photo.json").read_text())
    kinds = ("boxes.json", "boxes.png", "depth.npy", "labels.png", "normal.png", "panel.png", "points.ply")
    assert {f"photo_{kind}" for kind in kinds} <= set(description["files"])
    boxes = json.loads((tmp_path / "out" / "photo_boxes.json").read_text())
    assert boxes, "scores are about 0.01"
    assert all(0 <= box["x1"] < box["x2"] <= 200 and 0 <= box["y1"] < box["y2"] <= 100 for box in boxes)
    assert np.load(tmp_path / "out" / "photo_depth.npy").shape == (100, 200)


def test_options_of_detection_without_it(rgb, tmp_path, capsys):
    save_image(tmp_path / "photo.png", rgb)
    checkpoint = saved(tmp_path, ("segmentation",))
    for more in (["--min_score", 0.5], ["--save", "boxes"]):
        with pytest.raises(UserError, match=more[0]):
            predict(checkpoint, tmp_path, *more)
    for more in (["--min_score", "0.5"], ["--save", "boxes"]):
        with pytest.raises(SystemExit):
            predict_parser().parse_args(["--checkpoint", "a", "--input", "b", "--out", "c", *more])
        assert more[0] in capsys.readouterr().err
