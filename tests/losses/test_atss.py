"""ATSS against a plain loop over boxes and levels, and against matches of the released code."""

import numpy as np
import pytest
import torch

from losses.atss import match_anchors
from tests.achievement_golden import files_of, load
from utils.anchors import anchor_boxes, anchors_per_level


def batch_of(*images: list | np.ndarray) -> torch.Tensor:
    """Boxes (B, N, 5) of several images, padded."""
    rows = [torch.as_tensor(np.asarray(boxes).reshape(-1, 5)).double() for boxes in images]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def overlap(a: list[float], b: list[float]) -> float:
    """IoU of two boxes."""
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def plain_matches(boxes: torch.Tensor, size: tuple[int, int]) -> dict[int, int]:
    """The box of each positive anchor in an image, whose boxes (N, 5) may be padded."""
    anchors = anchor_boxes(size).double()
    corners = torch.cat([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], dim=1).tolist()
    best: dict[int, tuple[float, int]] = {}
    for n, (x1, y1, x2, y2, label) in enumerate(boxes.tolist()):
        if not label:
            continue
        distance = (anchors[:, 0] - (x1 + x2) / 2).square() + (anchors[:, 1] - (y1 + y2) / 2).square()
        candidates, start = [], 0
        for count in anchors_per_level(size):
            candidates += (distance[start : start + count].argsort()[:27] + start).tolist()
            start += count
        ious = [overlap(corners[a], [x1, y1, x2, y2]) for a in candidates]
        threshold = np.mean(ious) + np.std(ious, ddof=1)
        for a, iou in zip(candidates, ious, strict=True):
            x, y = anchors[a, :2].tolist()
            inside = min(x - x1, y - y1, x2 - x, y2 - y) > 0.01
            if iou >= threshold and inside and iou > best.get(a, (0, 0))[0]:
                best[a] = iou, n
    return {a: n for a, (_, n) in best.items()}


def matches_of(matched: torch.Tensor) -> dict[int, int]:
    """The box of each positive anchor, from one row of `match_anchors`."""
    return {a: n for a, n in enumerate(matched.tolist()) if n >= 0}


@pytest.mark.parametrize("size", [(128, 128), (96, 160), (64, 64)])
def test_plain_loop(size):
    """Overlapping boxes, images with fewer boxes, padding between boxes; at 64, all anchors of a level."""
    torch.manual_seed(0)
    corners = torch.rand(4, 6, 2, 2, dtype=torch.float64).sort(dim=2).values.flatten(2)
    boxes = torch.cat([corners, torch.randint(1, 5, (4, 6, 1)).double()], dim=2)
    boxes[0, 2] = boxes[1, 4:] = boxes[2] = 0
    matched = match_anchors(boxes, size)
    assert matched.dtype == torch.int64
    for image in range(4):
        assert matches_of(matched[image]) == plain_matches(boxes[image], size)
    assert (matched[2] == -1).all()
    assert len(matched[3].unique()) > 4, "several boxes"


@pytest.mark.parametrize("noise", [0, 1e-7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_at_640(dtype, noise):
    """The center of the first box is at equal distances from 8 locations, of which 5 are among the nearest 9."""
    boxes = [[0.1, 0.1, 0.4, 0.5, 3], [0.55, 0.5, 0.6, 0.58, 7], [0.2, 0.2, 0.35, 0.45, 5]]
    batch = batch_of(boxes)
    batch[..., :4] += noise * torch.randn(3, 4)
    (matched,) = match_anchors(batch.to(dtype), (640, 640))
    levels = torch.bucketize(torch.arange(25200), torch.tensor([19200, 24000]), right=True)
    for n, (count, level) in enumerate([(14, 2), (12, 0), (10, 2)]):
        assert (matched == n).sum() == count
        assert (levels[matched == n] == level).all()


def test_first_of_identical_boxes_is_matched():
    box = [0.2, 0.2, 0.7, 0.8]
    (matched,) = match_anchors(batch_of([[*box, 1], [*box, 2]]), (128, 128))
    assert set(matched.tolist()) == {-1, 0}


@pytest.mark.parametrize("boxes", [torch.zeros(2, 0, 5), torch.zeros(2, 3, 5)], ids=["none", "padding"])
def test_no_boxes(boxes):
    assert (match_anchors(boxes, (64, 96)) == -1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("path", files_of("losses") + files_of("VMM"), ids=lambda path: path.stem)
def test_released_matches(path, dtype):
    arrays = load(path)
    boxes_of, prefix = ("mbox_boxes", "mbox_atss") if "mbox_boxes0" in arrays else ("boxes_image", "atss_image")
    images = [image for image in range(8) if f"{prefix}{image}_anchor" in arrays]
    assert images
    boxes = batch_of(*(arrays[f"{boxes_of}{image}"] for image in images))
    for image, matched in zip(images, match_anchors(boxes.to(dtype), (128, 128)), strict=True):
        anchors, indices = (arrays[f"{prefix}{image}_{name}"].tolist() for name in ("anchor", "gt"))
        assert matches_of(matched) == dict(zip(anchors, indices, strict=True)), image
