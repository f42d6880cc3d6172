"""Display of detections: positions, colors, and matching with ground truth."""

import numpy as np
import pytest
import torch

from datasets.boxes import no_objects
from datasets.perspective import pack, unpack, without_maps
from datasets.voc import VOC_CLASSES
from utils.anchors import anchor_boxes
from utils.boxes import encode
from utils.tasks import ALONG_AXIS
from visual.boxes import SHOWN_SCORE, DetectionDisplay, draw_boxes, draw_detections, match
from visual.displays import DisplaySettings
from visual.panels import batch_panels, error_panel, maps_panel

SETTINGS = DisplaySettings(VOC_CLASSES.names, VOC_CLASSES.colors, ALONG_AXIS, "camera")
BIRD, CAR, CAT = (VOC_CLASSES.names.index(name) for name in ("bird", "car", "cat"))
GREEN, RED, BLUE, GRAY = (40, 180, 60), (220, 40, 40), (60, 90, 230), (150, 150, 150)
SIZE = (64, 96)
LARGE = np.full((400, 600, 3), 255, np.uint8)


def colors_at(image: np.ndarray, *points: tuple[int, int]) -> list[tuple[int, ...]]:
    """The colors at these (x, y)."""
    return [tuple(image[y, x].tolist()) for x, y in points]


def prediction_of(rows: list[tuple[int, float, tuple[float, ...]]], size: tuple[int, int] = SIZE) -> torch.Tensor:
    """A prediction (A, 4 + 20) with these detections only: class, score, and corners as fractions."""
    anchors = anchor_boxes(size)
    prediction = torch.zeros(len(anchors), 24)
    prediction[:, 4:] = -20
    for i, (label, score, corners) in enumerate(rows):
        prediction[i, :4] = encode(torch.tensor([corners]), anchors[i : i + 1])[0]
        prediction[i, 3 + label] = torch.tensor(score).logit()
    return prediction


def test_draw_boxes():
    """The first box covers the others; corners outside the image are drawn at its borders."""
    boxes = np.array([[100.0, 50, 300, 200], [100, 50, 300, 390], [-20, -20, 620, 420]])
    image = draw_boxes(LARGE, boxes, (GREEN, RED, BLUE))
    assert colors_at(image, (100, 50), (300, 120), (200, 200), (300, 300), (200, 390)) == [GREEN] * 3 + [RED] * 2
    assert colors_at(image, (0, 200), (599, 0), (300, 399)) == [BLUE] * 3
    assert colors_at(image, (150, 100), (200, 300), (50, 390)) == [(255, 255, 255)] * 3
    assert (LARGE == 255).all(), "the input is not modified"


def test_boxes_on_small_and_large_images():
    """Small images are enlarged, large ones have wider lines."""
    small = draw_boxes(np.zeros((20, 64, 3), np.uint8), np.array([[10.0, 5, 40, 15]]), (RED,))
    assert small.shape == (120, 384, 3)
    assert colors_at(small, (60, 30), (240, 60), (150, 90)) == [RED] * 3
    widths = [
        (draw_boxes(np.zeros((size, size, 3), np.uint8), np.array([[10.0, 10, 300, 300]]), (RED,))[200, :100] == RED)
        .all(-1)
        .sum()
        for size in (640, 4000)
    ]
    assert 1 <= widths[0] <= 3
    assert widths[1] > 2 * widths[0]


def test_draw_detections():
    """Names are above the boxes; objects have no scores, difficult ones thin lines and no names."""
    values = np.array(
        [[CAR, 0.9, 100, 100, 250, 200], [CAT, 1, 300, 100, 450, 200], [BIRD, np.nan, 100, 250, 250, 350]]
    )
    image = draw_detections(LARGE, values.astype(np.float32), SETTINGS)
    colors = [VOC_CLASSES.colors[label] for label in (CAR, CAT, BIRD)]
    assert colors_at(image, (101, 88), (301, 88), (175, 250)) == colors
    assert (image[236:249, 100:250] == 255).all(), "no name"

    def tag_width(left: int, color: tuple[int, int, int]) -> int:
        return (image[88, left : left + 140] == color).all(-1).sum()

    assert tag_width(100, colors[0]) > 1.5 * tag_width(300, colors[1]), "with a score"
    thickness = [(image[150, left - 3 : left + 4] != 255).any(-1).sum() for left in (100, 300)]
    assert min(thickness) > (image[300, 97:104] != 255).any(-1).sum()


def test_match():
    """By VOC's rule; IoUs along x are (10 - shift) / (10 + shift)."""

    def box(label: int, score: float, left: float) -> list[float]:
        return [label, score, left, 0, left + 10, 10]

    objects = np.array([box(CAR, 1, 0), box(CAR, 1, 100), box(CAT, 1, 200), box(CAT, np.nan, 300)])
    detections = np.array(
        [
            box(CAR, 0.9, 3),  # IoU 7 / 13
            box(CAR, 0.8, 0),  # second detection of this object
            box(CAR, 0.7, 104),  # IoU 6 / 14
            box(CAR, 0.6, 200),  # another class
            box(CAT, 0.5, 301),  # difficult object
            box(CAT, 0.4, 300),
        ]
    )
    is_correct, is_wrong, is_missed = match(detections, objects)
    assert is_correct.tolist() == [True, False, False, False, False, False]
    assert is_wrong.tolist() == [False, True, True, True, False, False]
    assert is_missed.tolist() == [False, True, True, False]
    empty = np.zeros((0, 6))
    assert [len(values) for values in match(empty, empty)] == [0, 0, 0]
    assert match(detections, empty)[1].all()
    assert match(empty, objects)[2].tolist() == [True, True, True, False]


def test_error_panel():
    """Colors show the result of `match`; the caption explains them."""
    display = DetectionDisplay((400, 600), softmax=False)
    objects = np.array(
        [[CAR, 1, 20, 20, 120, 120], [CAT, 1, 220, 20, 320, 120], [CAT, np.nan, 420, 20, 520, 120]], np.float32
    )
    found = np.array(
        [[CAR, 0.9, 25, 20, 125, 120], [CAR, 0.8, 220, 220, 320, 320], [CAT, 0.7, 420, 25, 520, 125]], np.float32
    )
    image = display.draw_error(LARGE, found, objects)
    assert colors_at(image, (25, 70), (220, 270), (220, 70), (420, 70)) == [GREEN, RED, BLUE, GRAY]
    panel = error_panel("detection", display, LARGE, found, objects, SETTINGS)
    assert panel.shape == (2 * 422, 1200, 3)
    np.testing.assert_array_equal(panel[444:, 600:], image)
    heading = panel[422:444, 600:].min(axis=-1)
    assert np.nonzero(heading.min(axis=0) < 128)[0].max() > 200, "the caption is longer than the task's name"
    assert display.marks(objects, SETTINGS) == ["thin: difficult"]
    assert not display.marks(found, SETTINGS)


def test_legend_of_detected_classes():
    values = np.array([[CAT, 0.9, 0, 0, 9, 9], [CAR, 0.8, 0, 0, 9, 9], [CAR, 0.8, 20, 0, 29, 9]], np.float32)
    display = DetectionDisplay(SIZE, softmax=False)
    assert display.classes((values,)) == [CAR, CAT]
    blank = np.zeros((*SIZE, 3), np.uint8)
    panel = maps_panel(blank, {"detection": values}, {"detection": display}, SETTINGS)
    legend = {tuple(color) for color in panel[-12].tolist()} & set(VOC_CLASSES.colors)
    assert legend == {VOC_CLASSES.colors[label] for label in (CAR, CAT)}
    assert maps_panel(blank, {"detection": values[:0]}, {"detection": display}, SETTINGS).shape == (256 + 22, 768, 3)


@pytest.mark.parametrize("min_score", [SHOWN_SCORE, 0.6])
def test_as_map(min_score):
    rows = [(CAR, 0.5, (0.25, 0.5, 0.5, 0.75)), (CAT, 0.9, (0.5, 0.0, 1.5, 0.25)), (BIRD, 0.2, (0.0, 0.0, 0.5, 0.5))]
    found = DetectionDisplay(SIZE, softmax=False, min_score=min_score).as_map(prediction_of(rows))
    expected = [[CAT, 0.9, 48, 0, 96, 16], [CAR, 0.5, 24, 32, 48, 48]]
    np.testing.assert_allclose(found, expected[: 2 if min_score < 0.5 else 1], atol=1e-4)


def batch_with(objects: list[list[float]], stored: tuple[int, int]) -> dict:
    """A batch with one image of this stored size, fitted to SIZE, and these objects."""
    image = without_maps(np.full((*stored, 3), 128, np.uint8), "a")
    image.objects = np.array(objects) if objects else no_objects()
    sample = unpack(pack(image.fitted(*SIZE), 0, stored))
    return {key: value[None] if isinstance(value, torch.Tensor) else [value] for key, value in sample.items()}


def test_target_map():
    """64x48 is padded to 72x48 (width x height) and enlarged by 4/3; pixels of objects are counted from 1."""
    batch = batch_with([[1, 1, 31, 25, CAR, 0], [37, 13, 61, 37, CAT, 1], [0, 0, 0, 0, 0, 0]], (48, 64))
    target = DetectionDisplay(SIZE, softmax=False).target_map(batch, 0)
    np.testing.assert_allclose(target, [[CAR, 1, 0, 0, 40, 32], [CAT, np.nan, 48, 16, 80, 48]], atol=1e-5)


@pytest.mark.parametrize("objects", [[], [[1, 1, 31, 25, CAR, 0]]])
def test_batch_panels(objects):
    """The detection is correct if there is an object."""
    batch = batch_with(objects, (48, 64))
    prediction = prediction_of([(CAR, 0.9, (0.0, 0.0, 40 / 96, 0.5))])[None]
    displays = {"detection": DetectionDisplay(SIZE, softmax=False)}
    [panels] = batch_panels(batch, {"detection": prediction}, displays, SETTINGS)
    image = panels["detection"]
    assert image.shape == (2 * (22 + 64 * 4), 2 * 96 * 4, 3)
    right = 40 * 4
    predicted, target, error = (
        colors_at(image, place)[0] for place in ((384 + right, 100), (right, 278 + 100), (384 + right, 278 + 100))
    )
    assert predicted == VOC_CLASSES.colors[CAR]
    assert target == (VOC_CLASSES.colors[CAR] if objects else (128, 128, 128))
    assert error == (GREEN if objects else RED)


def test_shrunk():
    values = np.array([[CAR, 0.5, 10, 20, 30, 40]], np.float32)
    assert DetectionDisplay(SIZE, softmax=False).shrunk(values, 4).tolist() == [[CAR, 0.5, 2.5, 5, 7.5, 10]]
