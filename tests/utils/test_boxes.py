"""Boxes: encoding, and selection of detections against a plain loop and the released code."""

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BoxCoder

import utils.boxes
from tests.achievement_golden import files_of, load
from utils.anchors import anchor_boxes
from utils.boxes import decode, detect, encode, paired_iou, stored_pixels

SIZE = (64, 96)


def test_decode():
    boxes = decode(torch.tensor([[0.5, -0.5, 0.2, -0.2]]), torch.tensor([[0.00625, 0.25625, 0.05, 0.05]]))
    assert boxes[0].tolist() == pytest.approx([-0.017270, 0.229730, 0.034770, 0.277770], abs=1e-6)


def test_encode_and_decode():
    """Each other's inverse, and equal to torchvision's."""
    anchors, offsets = anchor_boxes(SIZE).double(), torch.randn(3, len(anchor_boxes(SIZE)), 4, dtype=torch.float64)
    boxes = decode(offsets, anchors)
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    x, y, width, height = anchors.T
    corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1)
    torch.testing.assert_close(boxes[1], coder.decode_single(offsets[1], corners))
    torch.testing.assert_close(encode(boxes, anchors), offsets)


def test_paired_iou():
    first = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]])
    second = torch.tensor([[1.0, 1, 3, 3], [0, 0, 1, 1], [1, 0, 2, 1], [1, 1, 1, 1]])
    assert paired_iou(first, second).tolist() == pytest.approx([1 / 7, 1, 0, 0])


def plain_detections(prediction: torch.Tensor, scores: torch.Tensor) -> list[tuple[float, int, list[float]]]:
    """Score, label and box of the detections of one image, by decreasing score."""
    boxes = decode(prediction[:, :4], anchor_boxes(SIZE).double())
    found = []
    for k in range(scores.shape[1]):
        order = [i for i in scores[:, k].argsort(descending=True).tolist() if scores[i, k] > 0.01]
        kept = []
        for i in order[: utils.boxes.MAX_CANDIDATES]:
            if (paired_iou(boxes[i], boxes[kept]) <= 0.5).all():
                kept.append(i)
        found += [(scores[i, k].item(), k + 1, boxes[i].tolist()) for i in kept[:400]]
    return sorted(found, reverse=True)[: utils.boxes.MAX_DETECTIONS]


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize(("max_candidates", "spread"), [(4000, 1.0), (30, 1.0), (30, 0.0)])
def test_detections(monkeypatch, softmax, max_candidates, spread):
    """Few candidates require those of each class; without spread, most detections overlap."""
    monkeypatch.setattr(utils.boxes, "MAX_CANDIDATES", max_candidates)
    monkeypatch.setattr(utils.boxes, "MAX_DETECTIONS", 50)
    torch.manual_seed(0)
    anchors = anchor_boxes(SIZE)
    prediction = torch.randn(2, len(anchors), 7, dtype=torch.float64)
    if not spread:  # all boxes near the same place
        prediction[..., :4] = encode(torch.tensor([0.3, 0.3, 0.6, 0.7]).expand(len(anchors), 4), anchors)
        prediction[..., :4] += 0.5 * torch.randn(2, len(anchors), 4)
    prediction[1, :, 4:] -= 6 if not softmax else torch.tensor([-8.0, 0, 0])
    logits = prediction[..., 4:]
    scores = logits.softmax(-1)[..., 1:] if softmax else logits.sigmoid()
    found = detect(prediction, SIZE, softmax)
    assert found.boxes.shape == (2, 50, 4)
    for image in range(2):
        expected = plain_detections(prediction[image], scores[image])
        count = int((found.labels[image] > 0).sum())
        assert count == len(expected)
        assert found.labels[image, :count].tolist() == [label for _, label, _ in expected]
        assert found.scores[image, :count].tolist() == pytest.approx([score for score, _, _ in expected])
        assert found.boxes[image, :count].tolist() == [pytest.approx(box) for _, _, box in expected]
        assert not found.boxes[image, count:].any()
    assert (found.labels[1] == 0).any() or spread, "the second image has few"


def test_nothing_detected():
    assert not detect(torch.full((2, len(anchor_boxes(SIZE)), 7), -9.0), SIZE).labels.any()
    assert not detect(torch.full((2, len(anchor_boxes(SIZE)), 7), torch.nan), SIZE).labels.any()


def test_stored_pixels():
    """An image of 30 x 100 was padded to 100 x 100, one of 200 x 100 to 200 x 200."""
    boxes = torch.tensor([[[0.0, 0.1, 0.5, 1.0]]]).expand(2, 1, 4)
    pixels = stored_pixels(boxes, torch.tensor([[30, 100], [200, 100]]), (64, 64))
    assert pixels[:, 0].tolist() == [pytest.approx([0, 10, 50, 100]), pytest.approx([0, 20, 100, 200])]


def released_rows(prediction: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """Class, score and box (n, 6) of the detections of one image, by class, then by decreasing score."""
    found = detect(prediction[None], size)
    columns = found.labels[0, :, None], found.scores[0, :, None], found.boxes[0]
    rows = torch.cat([column.double() for column in columns], dim=1).numpy()
    rows = rows[rows[:, 0] > 0]
    return rows[np.argsort(rows[:, 0], kind="stable")]


@pytest.mark.parametrize("path", files_of("detection"), ids=lambda path: path.stem)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_released_detections(path, dtype, tolerance, monkeypatch):
    arrays = load(path)
    stride, size = int(arrays["anchors640_stride"]), (640, 640)
    h = np.random.default_rng(int(arrays["detect640_seed"]))
    offsets = h.standard_normal((25200, 4)).astype(np.float32)
    logits = (h.standard_normal((25200, 3)) * 1.5 + (-2, -6.5, -8.2)).astype(np.float32)
    prediction = torch.from_numpy(np.concatenate([offsets, logits], axis=1)).to(dtype)
    decoded = decode(prediction[:, :4], anchor_boxes(size).to(dtype))[::stride]
    np.testing.assert_allclose(decoded, arrays["decode640"], atol=tolerance)
    np.testing.assert_allclose(released_rows(prediction, size), arrays["detect640_rows"], atol=tolerance)

    monkeypatch.setattr(utils.boxes, "MAX_DETECTIONS", 10_000)
    rows = released_rows(prediction, size)
    per_class = [rows[rows[:, 0] == label][:400] for label in range(4)]
    assert [len(one) for one in per_class] == arrays["detect640_counts_before_top200"].tolist()
    np.testing.assert_allclose(
        np.concatenate(per_class)[::5], arrays["detect640_rows_before_top200"], atol=tolerance, rtol=0
    )


@pytest.mark.parametrize("path", files_of("VMM"), ids=lambda path: path.stem)
def test_released_detections_of_network(path):
    arrays = load(path)
    prediction = torch.from_numpy(np.concatenate([arrays["nms_in_loc"], arrays["nms_in_conf"]], axis=1)).double()
    np.testing.assert_allclose(released_rows(prediction, (128, 128)), arrays["nms_rows"], atol=1e-6)
    decoded = decode(prediction[:, :4], torch.from_numpy(arrays["anchors"]).double())[::5]
    np.testing.assert_allclose(decoded, arrays["nms_decoded"], atol=1e-6)
