"""Colors, legends and panels of maps."""

import cv2
import numpy as np
import pytest
import torch

from datasets.classes import STANFORD2D3D
from tasks import TASKS
from utils.colors import distinct_colors
from utils.tasks import METERS
from visual.color_scale import ColorScale, depth_scale
from visual.displays import DisplaySettings, class_legend
from visual.drawing import (
    color_bar,
    label_colors,
    legend,
    normal_colors,
    panel,
    save_image,
    scale_colors,
)
from visual.map_displays import occurring_classes
from visual.panels import batch_panels, error_panel, panel_writer, to_uint8

SETTINGS = DisplaySettings(STANFORD2D3D.names, STANFORD2D3D.colors, METERS, "camera")


def test_scale_colors():
    colors = scale_colors(np.array([[1.0, 5.5, 10.0, 0.2, 99.0, np.nan, np.inf, -np.inf]]), ColorScale(1, 10, "m"))
    near, middle, far, below, above, missing, infinite, negative = colors[0].astype(int)
    assert near[2] > near[0], "near is blue"
    assert far[0] > far[2], "far is red"
    assert middle[1] == middle.max(), "the middle is green"
    assert (below == near).all()
    assert (above == far).all()
    assert not missing.any()
    assert not negative.any()
    assert (infinite == 255).all()


def test_depth_scale():
    """Percentiles of all maps, rounded to two digits of their difference; invalid depths are ignored."""
    near, far = np.linspace(1, 2, 1000), np.linspace(2, 3, 1000)
    near[:20], far[-20:] = np.nan, np.inf
    valid = np.concatenate([near[20:], far[:-20]])
    low, high, unit = depth_scale((near, far), "m")
    assert unit == "m"
    assert 0 <= np.percentile(valid, 2) - low < 0.1
    assert 0 <= high - np.percentile(valid, 98) < 0.1
    assert depth_scale((np.array([[0.0, -1.0, np.nan, np.inf]]),), "m") == (0, 10, "m")
    low, high, _ = depth_scale((np.full((2, 4), 3.0),), "")
    assert low <= 3 <= high
    assert low < high < 4, "a constant map"


def test_depth_scale_ignores_outliers():
    depth = np.full(1000, 2.0)
    depth[:100], depth[-10:] = 1.0, 9.9
    assert depth_scale((depth,), "m")[:2] == (1, 2)


def test_normal_colors():
    normals = np.array([[[1.0, 0, 0], [0, -1.0, 0], [0, 0, 0]]])
    assert normal_colors(normals).tolist() == [[[255, 128, 128], [128, 0, 128], [0, 0, 0]]]


def test_label_colors():
    colors = label_colors(np.array([[0, 12, -1]]), STANFORD2D3D.colors)
    assert colors[0].tolist() == [list(STANFORD2D3D.colors[0]), list(STANFORD2D3D.colors[12]), [0, 0, 0]]


def test_distinct_colors():
    assert len(set(distinct_colors(41))) == 41


def test_color_bar_increases_upward():
    scale = ColorScale(1, 4, "m")
    bar = color_bar(200, scale)
    assert bar.shape[0] == 200
    for row in (5, 195):
        assert (bar[row, 10] == scale_colors(np.array([[4 - 3 * row / 199]]), scale)[0, 0]).all()


def test_color_bar_numbers_are_not_cut():
    assert (color_bar(200, ColorScale(0.125, 0.175, "m"))[:, -2:] == 255).all()


@pytest.mark.parametrize("task", TASKS)
def test_error_panel(task):
    """Four tiles, enlarged; the error is uniform where prediction and ground truth agree, black where it is missing."""
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 255, (64, 128, 3), dtype=np.uint8)
    target = {
        "depth": generator.uniform(1, 9, (64, 128)),
        "normal": np.broadcast_to(np.array([0.0, -1.0, 0.0]), (64, 128, 3)).copy(),
        "segmentation": generator.integers(0, 13, (64, 128)),
    }[task]
    prediction = target.copy()
    target[:10] = -1 if task == "segmentation" else np.nan
    image = error_panel(task, TASKS[task].display, rgb, prediction, target, SETTINGS)
    height, width = image.shape[0] // 2, image.shape[1] // 2
    assert height == 64 * 3 + 22
    error = image[height + 22 :, width : width + 384][1::3, 1::3]
    assert error.shape[:2] == (64, 128)
    assert not error[:10].any(), "missing ground truth is black"
    assert (error[10:] == error[10, 0]).all(), "the color of no error"
    assert error[10, 0].any()


def test_panel_of_three():
    tiles = [np.zeros((200, 400, 3), np.uint8)] * 3
    assert panel(tiles, ["a", "b", "c"], [None] * 3).shape == (2 * 222, 800, 3)


def test_prediction_and_ground_truth_share_a_scale():
    """Equal depths have equal colors; depth beyond the limit is white, missing depth black."""
    prediction, target = np.full((64, 384), 2.0), np.linspace(1, 4, 64 * 384).reshape(64, 384)
    target[0, 0], target[:, 1], target[:, 2] = 2, np.nan, np.inf
    display = TASKS["depth"].display
    image = error_panel("depth", display, np.zeros((64, 384, 3), np.uint8), prediction, target, SETTINGS)
    height, width = image.shape[0] // 2, image.shape[1] // 2
    ground_truth = image[height + 22 :, :384]
    assert (ground_truth[0, 0] == image[22, width]).all()
    assert not ground_truth[:, 1].any()
    assert (ground_truth[:, 2] == 255).all()
    assert display.marks(target, SETTINGS) == ["black: missing", "white: above 10 m"]
    assert not display.marks(prediction, SETTINGS)


def test_target_map_of_depth_beyond_limit():
    batch = {"depth": torch.tensor([[[[0.0, 3.0, 10.0, 12.0]]]])}
    batch["depth_mask"] = (batch["depth"] > 0) & (batch["depth"] <= 10)
    np.testing.assert_array_equal(TASKS["depth"].display.target_map(batch, 0), [[np.nan, 3, 10, np.inf]])


def test_legend_names_are_not_cut():
    """Each name is on a patch of its color; rows are as wide as the image."""
    names = ("wall", "a class with a very long name indeed", "x", *(f"class {i}" for i in range(20)))
    colors = distinct_colors(len(names))
    image = legend(names, colors, 400)
    assert image.shape[1] == 400
    assert image.shape[0] > 22
    for name, color in zip(names, colors, strict=True):
        (width, _), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
        _, columns = np.nonzero((image == color).all(-1))
        assert np.ptp(columns) > width, name
    assert legend((), (), 400).shape == (0, 400, 3)


def test_class_legend():
    """It lists the classes that occur, most frequent first."""
    labels = np.array([[5, 5, 5, -1, 2, 2, -1, -1]]), np.array([[7, 5, 2, -1]])
    assert occurring_classes(labels) == [5, 2, 7]
    image = class_legend(TASKS["segmentation"].display.classes(labels), SETTINGS, 800)
    shown = {tuple(color) for color in image[3].tolist()} & set(STANFORD2D3D.colors)
    assert shown == {STANFORD2D3D.colors[i] for i in (5, 2, 7)}
    starts = [np.nonzero((image[3] == STANFORD2D3D.colors[i]).all(-1))[0][0] for i in (5, 2, 7)]
    assert starts == sorted(starts)


def test_saved_images_are_rgb(tmp_path):
    image = np.zeros((4, 8, 3), np.uint8)
    image[..., 0] = 200
    path = tmp_path / "ümlaut.png"
    save_image(path, image)
    read = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert read[0, 0].tolist() == [0, 0, 200], "OpenCV reads BGR"


def test_as_map_and_to_uint8():
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
    displays = {task: TASKS[task].display for task in predictions}
    panels = batch_panels(batch, predictions, displays, SETTINGS)
    assert [list(sample) for sample in panels] == [["depth", "segmentation"]] * 2


def test_panel_writer(tmp_path):
    """Draws every second batch; the first two samples of the first batch are also shown."""
    shown = []
    draw = panel_writer(
        *(lambda task, epoch, number, name: tmp_path / f"{task}_{epoch}_{number}_{name}.png",),
        *({"depth": TASKS["depth"].display}, SETTINGS, 3, 2),
        lambda name, image: shown.append(name),
    )
    for number in range(3):
        depth = torch.rand(3, 1, 8, 16)
        batch = {"id": list("abc"), "rgb": torch.rand(3, 3, 8, 16), "depth": depth, "depth_mask": depth > 0.5}
        draw(number, batch, {"depth": depth})
    assert sorted(path.stem for path in tmp_path.iterdir()) == [f"depth_3_{n}_{name}" for n in (0, 2) for name in "abc"]
    assert shown == ["depth/a", "depth/b"]
