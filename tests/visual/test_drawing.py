"""Pictures: right sizes, right colors, nothing hidden."""

import cv2
import numpy as np
import pytest
import torch

from datasets.classes import STANFORD2D3D
from tasks import TASKS
from utils.colors import distinct_colors
from utils.tasks import METERS
from visual.displays import DisplaySettings
from visual.drawing import (
    color_bar,
    label_colors,
    legend,
    normal_colors,
    panel,
    save_image,
    scale_colors,
)
from visual.panels import batch_panels, error_panel, to_uint8


def test_scale_colors():
    colors = scale_colors(np.array([[0.0, 5.0, 10.0, 99.0, np.nan, np.inf]]), top=10)
    near, middle, far, beyond, missing, infinite = colors[0].astype(int)
    assert near[2] > near[0], "near is blue"
    assert far[0] > far[2], "far is red"
    assert middle[1] == middle.max(), "the middle is green"
    assert (beyond == far).all()
    assert not missing.any()
    assert not infinite.any()


def test_normal_colors():
    normals = np.array([[[1.0, 0, 0], [0, -1.0, 0], [0, 0, 0]]])
    assert normal_colors(normals).tolist() == [[[255, 128, 128], [128, 0, 128], [0, 0, 0]]]


def test_label_colors():
    colors = label_colors(np.array([[0, 12, -1]]), STANFORD2D3D.colors)
    assert colors[0].tolist() == [list(STANFORD2D3D.colors[0]), list(STANFORD2D3D.colors[12]), [0, 0, 0]]


def test_distinct_colors():
    assert len(set(distinct_colors(41))) == 41


def test_color_bar_reads_upwards():
    bar = color_bar(200, 10, "m")
    assert bar.shape[0] == 200
    assert (bar[5, 10] == scale_colors(np.array([[10 * (1 - 5 / 199)]]), 10)[0, 0]).all()
    assert (bar[-5, 10] == scale_colors(np.array([[10 * 4 / 199]]), 10)[0, 0]).all()


@pytest.mark.parametrize("task", TASKS)
def test_error_panel(task):
    """2 x 2, enlarged when small; where prediction and truth agree the error is none, where truth misses, black."""
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 255, (64, 128, 3), dtype=np.uint8)
    truth = {
        "depth": generator.uniform(1, 9, (64, 128)),
        "normal": np.broadcast_to(np.array([0.0, -1.0, 0.0]), (64, 128, 3)).copy(),
        "segmentation": generator.integers(0, 13, (64, 128)),
    }[task]
    prediction = truth.copy()
    truth[:10] = -1 if task == "segmentation" else np.nan
    picture = error_panel(
        *(task, TASKS[task].display, rgb, prediction, truth),
        DisplaySettings(STANFORD2D3D.names, STANFORD2D3D.colors, METERS, "camera"),
    )
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    assert height == 64 * 3 + 22
    error = picture[height + 22 :, width : width + 384][1::3, 1::3]
    assert error.shape[:2] == (64, 128)
    assert not error[:10].any(), "missing truth is black"
    assert (error[10:] == error[10, 0]).all(), "no error anywhere"
    assert error[10, 0].any()


def test_panel_of_three():
    tiles = [np.zeros((200, 400, 3), np.uint8)] * 3
    assert panel(tiles, ["a", "b", "c"], [None] * 3).shape == (2 * 222, 800, 3)


def test_legend_names_every_class():
    picture = legend(STANFORD2D3D.names, STANFORD2D3D.colors, 800)
    assert picture.shape == (2 * 22, 800, 3)
    for i, color in enumerate(STANFORD2D3D.colors):
        assert (picture[i // 8 * 22 + 3, i % 8 * 96 + 3] == color).all()


def test_saved_pictures_are_rgb(tmp_path):
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[..., 0] = 200
    path = tmp_path / "ümlaut.png"
    save_image(path, picture)
    read = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert read[0, 0].tolist() == [0, 0, 200], "OpenCV reads BGR"


def test_as_map_and_picture():
    assert to_uint8(torch.tensor([0.0, 0.5, 1.0])[:, None, None]).tolist() == [[[0, 128, 255]]]
    assert TASKS["depth"].display.as_map(torch.full((1, 2, 4), 3.0)).shape == (2, 4)
    assert TASKS["normal"].display.as_map(torch.zeros(3, 2, 4)).shape == (2, 4, 3)
    labels = TASKS["segmentation"].display.as_map(torch.tensor([0.1, 0.9])[:, None, None])
    assert labels.tolist() == [[1]]
    assert labels.dtype == np.uint8


def test_batch_panels():
    batch = {
        "rgb": torch.rand(2, 3, 8, 16),
        "depth": torch.rand(2, 1, 8, 16),
        "depth_mask": torch.rand(2, 1, 8, 16) > 0.5,
        "semantic": torch.randint(-1, 13, (2, 8, 16)),
    }
    predictions = {"depth": torch.rand(2, 1, 8, 16), "segmentation": torch.rand(2, 13, 8, 16)}
    settings = DisplaySettings(STANFORD2D3D.names, STANFORD2D3D.colors, METERS, "camera")
    displays = {task: TASKS[task].display for task in predictions}
    panels = batch_panels(batch, predictions, displays, settings)
    assert [list(sample) for sample in panels] == [["depth", "segmentation"]] * 2
