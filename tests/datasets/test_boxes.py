"""Boxes are transformed with their image, compared with the bounds of a drawn rectangle."""

import numpy as np
import pytest
import torch

from datasets.boxes import boxes_of_objects, clip_objects
from datasets.loading import _collate
from datasets.perspective import PerspectiveImage, pack, unpack, without_maps
from datasets.perspective_augment import PerspectiveAugmentation

LABEL = 7


def with_rectangle(rows=48, columns=64, x1=10, y1=20, x2=30, y2=44) -> PerspectiveImage:
    image = without_maps(np.zeros((rows, columns, 3), np.uint8), "rectangle")
    image.semantic[y1:y2, x1:x2] = LABEL
    image.boxes = np.array([[x1, y1, x2, y2, LABEL]], np.float32)
    return image


def drawn_box(image: PerspectiveImage) -> np.ndarray:
    """x1, y1, x2, y2 of the rectangle in the label map."""
    rows, columns = np.nonzero(image.semantic == LABEL)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.padded(60, 90, 5, 21),
        lambda image: image.cropped(3, 4, 45, 40),
        lambda image: image.cropped(25, 15, 10, 8),
        lambda image: image.cropped(0, 0, 30, 64),
        lambda image: image.flipped(),
        lambda image: image.padded(60, 90, 5, 21).flipped().cropped(10, 3, 40, 60),
    ],
)
def test_boxes_move_with_the_image(change):
    moved = change(with_rectangle())
    assert moved.boxes.dtype == np.float32
    assert np.array_equal(moved.boxes, [[*drawn_box(moved), LABEL]])


@pytest.mark.parametrize("size", [(96, 128), (24, 32), (57, 43), (200, 64)])
def test_boxes_are_resized_with_the_image(size):
    moved = with_rectangle().resized(*size)
    assert np.abs(moved.boxes[0, :4] - drawn_box(moved)).max() <= max(1, size[0] / 48)
    ratio = np.array([size[1] / 64, size[0] / 48] * 2)
    assert np.allclose(moved.boxes[0, :4], with_rectangle().boxes[0, :4] * ratio)


@pytest.mark.parametrize("window", [(0, 0, 20, 64), (0, 30, 48, 34), (44, 0, 4, 64), (0, 0, 48, 10)])
def test_boxes_outside_the_window_are_dropped(window):
    """Even if the window ends where the rectangle begins, or begins where it ends."""
    assert with_rectangle().cropped(*window).boxes.shape == (0, 5)


def test_boxes_follow_the_augmentation():
    augment = PerspectiveAugmentation(color=False)
    lost = 0
    for seed in range(60):
        torch.manual_seed(seed)
        moved = augment(with_rectangle(60, 80, 5, 30, 17, 54), 48, 64)
        if (moved.semantic == LABEL).any():
            assert np.abs(moved.boxes[0, :4] - drawn_box(moved)).max() <= 2
        else:
            lost += 1
            assert len(moved.boxes) == 0 or (moved.boxes[0, 2:4] - moved.boxes[0, :2]).min() < 1
    assert lost < 30


def test_objects_become_boxes():
    """Coordinates count from 1 in objects, from 0 in boxes; difficult and empty objects are dropped."""
    objects = np.array([[1, 1, 65, 49, 3, 0], [5, 6, 7, 8, 4, 1], [9, 9, 9, 12, 5, 0], [2.5, 3, 4, 5, 20, 0]])
    assert np.array_equal(boxes_of_objects(objects), np.array([[0, 0, 64, 48, 3], [1.5, 2, 3, 4, 20]], np.float32))
    outside = np.array([[-3, 5, 70, 50, 1, 0], [66, 1, 70, 10, 2, 0]])
    assert np.array_equal(clip_objects(outside, 48, 64), [[1, 5, 65, 49, 1, 0]])


def test_boxes_in_samples():
    image = with_rectangle()
    image.objects = np.array([[11.0, 21, 31, 45, LABEL, 0], [1, 1, 2, 2, 3, 1]])
    packed = pack(image.fitted(96, 96), 0, image.size)
    sample = unpack(packed)
    assert torch.allclose(sample["boxes"], torch.tensor([[10 / 64, 20 / 64, 30 / 64, 44 / 64, LABEL]]))
    assert sample["boxes"].dtype == torch.float32
    assert torch.equal(sample["objects"], torch.from_numpy(image.objects))
    assert (sample["stored_size"].tolist(), sample["stored_size"].dtype) == ([48, 64], torch.int64)
    assert unpack(pack(without_maps(image.rgb, ""), 0))["boxes"].shape == (0, 5)


def test_boxes_are_padded_in_batches():
    samples = []
    for number in (2, 0, 3):
        image = with_rectangle()
        image.boxes = np.repeat(image.boxes, number, axis=0)
        image.objects = np.ones((number + 1, 6))
        samples.append(pack(image, number) | {"bad": []})
    batch = unpack(_collate(samples))
    assert batch["boxes"].shape == (3, 3, 5)
    assert (batch["boxes"][..., 4] > 0).sum(dim=1).tolist() == [2, 0, 3]
    assert not batch["boxes"][1].any()
    assert batch["objects"].shape == (3, 4, 6)
    assert batch["objects"].any(dim=2).sum(dim=1).tolist() == [3, 1, 4]


def test_batch_without_boxes():
    samples = [pack(without_maps(np.zeros((8, 8, 3), np.uint8), ""), i) | {"bad": []} for i in range(2)]
    batch = unpack(_collate(samples))
    assert batch["boxes"].shape == (2, 0, 5)
    assert batch["objects"].shape == (2, 0, 6)
