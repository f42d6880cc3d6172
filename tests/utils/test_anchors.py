"""Anchors against closed forms and the released code."""

from math import sqrt

import numpy as np
import pytest
import torch

from tests.achievement_golden import files_of, load, load_meta
from utils.anchors import RATIOS, STRIDES, anchor_boxes, anchors_per_level


def test_square_images():
    anchors = anchor_boxes((640, 640))
    assert anchors.dtype == torch.float32
    assert anchors_per_level((640, 640)) == (19_200, 4_800, 1_200)
    assert anchors.shape == (25_200, 4)
    center, side = 0.00625, 0.05
    expected = [
        [center, center, side, side],
        [center, center, side * sqrt(2), side / sqrt(2)],
        [center, center, side / sqrt(2), side * sqrt(2)],
    ]
    torch.testing.assert_close(anchors[:3], torch.tensor(expected))
    torch.testing.assert_close(anchors[3], torch.tensor([3 * center, center, side, side]))  # the next column
    torch.testing.assert_close(anchors[3 * 80], torch.tensor([center, 3 * center, side, side]))  # the next row
    for start, factor in ((19_200, 2), (24_000, 4)):  # the coarser levels
        torch.testing.assert_close(anchors[start : start + 3], factor * anchors[:3])


def test_rectangular_images():
    """Anchors have the same shapes in pixels, and are centered in the cells."""
    size = (96, 160)
    pixels = anchor_boxes(size) * torch.tensor([160, 96, 160, 96])
    levels = pixels.split(anchors_per_level(size))
    assert [len(level) for level in levels] == [3 * 12 * 20, 3 * 6 * 10, 3 * 3 * 5]
    width, height = levels[0][:, 2], levels[0][:, 3]  # anchors of coarser levels are clamped
    torch.testing.assert_close(width * height, torch.full_like(width, 32**2))
    torch.testing.assert_close(width / height, torch.tensor(RATIOS).repeat(12 * 20))
    for stride, level in zip(STRIDES, levels, strict=True):
        for axis, extent in ((0, 160), (1, 96)):
            assert level[:, axis].unique().tolist() == pytest.approx(np.arange(stride / 2, extent, stride))
    assert pixels[-3, 2:].tolist() == pytest.approx([128, 96])  # as large as the image


def test_size_that_is_no_multiple_of_strides():
    assert anchors_per_level((70, 101)) == (3 * 9 * 13, 3 * 5 * 7, 3 * 3 * 4)
    anchors = anchor_boxes((70, 101))
    assert len(anchors) == sum(anchors_per_level((70, 101)))
    assert anchors.min() > 0
    assert anchors.max() <= 1


def test_cached():
    assert anchor_boxes((64, 64)) is anchor_boxes((64, 64))
    assert anchor_boxes((64, 64), torch.device("meta")).device.type == "meta"


@pytest.mark.parametrize("path", files_of("VMM"), ids=lambda path: path.stem)
def test_released_anchors_of_network(path):
    arrays = load(path)
    expected = torch.from_numpy(arrays["anchors"])
    torch.testing.assert_close(anchor_boxes(tuple(load_meta(arrays).size)), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("path", files_of("detection"), ids=lambda path: path.stem)
def test_released_anchors_at_640(path):
    arrays = load(path)
    anchors = anchor_boxes((640, 640))
    expected = torch.from_numpy(arrays["anchors640"])
    torch.testing.assert_close(anchors[:: int(arrays["anchors640_stride"])], expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(anchors.double().sum(dim=0), arrays["anchors640_sum"], rtol=1e-7)
