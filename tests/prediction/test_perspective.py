"""Prediction of perspective images: maps at their size, and points compared with closed forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from datasets.perspective import PerspectiveImage, pack, unpack, without_maps
from networks.achievement_checkpoint import load_achievement_checkpoint
from prediction import PerspectivePrediction, load_achievement, load_elite360m
from prediction.cameras import Camera
from utils.errors import UserError
from utils.pinhole import Pinhole
from utils.tasks import ALONG_AXIS
from visual.drawing import save_image

CAMERA = Pinhole(fx=50.0, fy=40.0, cx=30.0, cy=25.5, height=48, width=64)


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def network(perspective_checkpoint):
    return load_achievement_checkpoint(perspective_checkpoint).build_network().eval()


def assert_equal_maps(result: PerspectivePrediction, expected: dict[str, torch.Tensor]) -> None:
    np.testing.assert_array_equal(result.depth, expected["depth"][0, 0].numpy())
    np.testing.assert_array_equal(result.normal, expected["normal"][0].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(result.labels, expected["segmentation"][0].argmax(0).numpy())


def test_maps_are_the_networks(perspective_model, network, rgb):
    with torch.no_grad():
        expected = network(torch.tensor(rgb)[None].permute(0, 3, 1, 2) / 255)
    assert_equal_maps(perspective_model.predict(rgb), expected)


@pytest.mark.parametrize("size", [(96, 128), (30, 64), (48, 20), (1, 1), (2, 300)])
def test_input_is_that_of_evaluation(perspective_model, network, monkeypatch, size):
    """It is padded and resized; results have the size of the image."""
    rgb = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    fitted: PerspectiveImage = without_maps(rgb, "").fitted(48, 64)
    inputs = []
    predictor = perspective_model._predictor
    monkeypatch.setattr(perspective_model, "_predictor", lambda batch: inputs.append(batch) or predictor(batch))
    result = perspective_model.predict(rgb)
    torch.testing.assert_close(inputs[0][0], unpack(pack(fitted, 0))["rgb"])
    assert result.depth.shape == result.labels.shape == result.normal.shape[:2] == result.rgb.shape[:2] == size
    np.testing.assert_allclose(np.linalg.norm(result.normal, axis=-1), 1, atol=1e-5)
    assert result.camera.source == "NYU v2's"


def test_batch_of_several_sizes(perspective_model, rgb):
    images = [rgb, rgb[:30], rgb.repeat(2, axis=0)]
    cameras = [Camera(replace(CAMERA, height=len(image)), "given") for image in images]
    for image, camera, result in zip(images, cameras, perspective_model.predict_batch(images, cameras), strict=True):
        single = perspective_model.predict(image, camera.pinhole)
        assert result.camera == single.camera == camera
        np.testing.assert_allclose(result.depth, single.depth, rtol=1e-4)
        assert (result.labels == single.labels).mean() > 0.99


def test_camera_for_another_size(perspective_model, rgb):
    with pytest.raises(ValueError, match=r"64x47, .* 64x48"):
        perspective_model.predict(rgb[1:], CAMERA)


def prediction_of_depth(settings, depth: np.ndarray) -> PerspectivePrediction:
    return PerspectivePrediction(
        rgb=np.zeros((*depth.shape, 3), np.uint8),
        settings=replace(settings, tasks=("depth",)),
        depth=depth.astype(np.float32),
        camera=Camera(CAMERA, "given"),
    )


def test_points_of_a_wall(perspective_settings, tmp_path):
    """Depth is z: the same at every pixel, although the corners are farther away."""
    cloud = prediction_of_depth(perspective_settings, np.full((48, 64), 3)).point_cloud()
    cloud.save_ply(tmp_path / "wall.ply")
    assert ALONG_AXIS.encode() in (tmp_path / "wall.ply").read_bytes()[:300]
    points = trimesh.load(tmp_path / "wall.ply").vertices.reshape(48, 64, 3)
    assert (points[..., 2] == 3).all()
    left, right, top, bottom = points[0, 0, 0], points[0, -1, 0], points[0, 0, 1], points[-1, 0, 1]
    assert (left, right) == pytest.approx((-30 / 50 * 3, 33 / 50 * 3)), "x right"
    assert (top, bottom) == pytest.approx((-25.5 / 40 * 3, 21.5 / 40 * 3)), "y down"


def test_points_of_a_floor(perspective_settings):
    """It is 1.5 m below the camera; pixels above the horizon have no points."""
    below = np.arange(48)[:, None] - CAMERA.cy
    depth = np.where(below > 0, 1.5 * CAMERA.fy / np.where(below > 0, below, 1), 0) * np.ones((1, 64))
    cloud = prediction_of_depth(perspective_settings, depth).point_cloud()
    assert len(cloud.xyz) == (below > 0).sum() * 64
    assert cloud.xyz[:, 1] == pytest.approx(1.5, rel=1e-6)


def test_points_project_to_their_pixels(perspective_settings):
    depth = np.random.default_rng(0).uniform(1, 9, (48, 64))
    x, y, z = prediction_of_depth(perspective_settings, depth).point_cloud().xyz.T
    rows, columns = np.mgrid[:48, :64].reshape(2, -1)
    np.testing.assert_allclose(CAMERA.fx * x / z + CAMERA.cx, columns, atol=1e-3)
    np.testing.assert_allclose(CAMERA.fy * y / z + CAMERA.cy, rows, atol=1e-3)


def test_panel_of_a_large_image(perspective_settings):
    """Its maps are shrunk, as its text has a fixed size."""
    large = prediction_of_depth(perspective_settings, np.ones((1500, 2100)))
    assert large.panel().shape[1] < 2 * (1024 + 100)


def test_file(perspective_model, rgb, tmp_path):
    save_image(tmp_path / "room.png", rgb)
    result = perspective_model.predict(tmp_path / "room.png")
    np.testing.assert_array_equal(result.depth, perspective_model.predict(rgb).depth)


def test_checkpoint_of_the_other_program(checkpoint, perspective_checkpoint):
    for load, path, script in (
        (load_achievement, checkpoint, "predict_elite360m.py"),
        (load_elite360m, perspective_checkpoint, "predict_achievement.py"),
    ):
        with pytest.raises(UserError, match=f"{path.name} .*{script}"):
            load(path)
