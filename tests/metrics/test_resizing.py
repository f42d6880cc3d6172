"""Resized predictions against a loop over pixels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from metrics import resizing
from metrics.evaluator import PredictedBatches
from metrics.resizing import resized
from utils.batches import STORED

SMALL = (6, 12)


def interpolated(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation of (C, h, w) to (C, H, W), pixel by pixel; columns wrap around, rows are clamped."""
    height, width = values.shape[1:]
    result = np.zeros((len(values), *size))
    for i, j in np.ndindex(*size):
        y = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
        x = (j + 0.5) * width / size[1] - 0.5
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                weight = max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column))
                if weight:
                    result[:, i, j] += weight * values[:, row, column % width]
    return result


@pytest.mark.parametrize("size", [(12, 24), (15, 30), (4, 8)])
@pytest.mark.parametrize("chunk", [1, 200, 1 << 24])
def test_against_single_pixels(monkeypatch, size, chunk):
    monkeypatch.setattr(resizing, "_CHUNK", chunk)
    depth, normal, logits = (torch.randn(2, channels, *SMALL) for channels in (1, 3, 5))
    for i in range(2):
        expected = interpolated(depth[i].numpy(), size)
        assert resized("depth", depth, size)[i].numpy() == pytest.approx(expected, abs=1e-5)
        expected = interpolated(normal[i].numpy(), size)
        expected /= np.linalg.norm(expected, axis=0)
        assert resized("normal", normal, size)[i].numpy() == pytest.approx(expected, abs=1e-4)
        labels = resized("segmentation", logits, size)
        assert labels.shape == (2, 1, *size)
        assert np.array_equal(labels[i, 0], interpolated(logits[i].numpy(), size).argmax(0))


def test_labels_use_nearest_neighbor():
    labels = torch.randint(0, 9, (2, 1, *SMALL))
    repeated = labels.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(resized("segmentation", labels, (12, 24)), repeated)
    expected = F.interpolate(labels.float(), (9, 18), mode="nearest-exact").long()
    assert torch.equal(resized("segmentation", labels, (9, 18)), expected)


def test_unchanged_size():
    logits = torch.randn(1, 5, *SMALL)
    assert resized("segmentation", logits, SMALL) is logits


def test_detections_are_not_resized():
    detections = torch.randn(1, 20, 9)
    [(_, predictions)] = PredictedBatches([{"rgb": torch.zeros(1, 3, *SMALL)}], lambda _: {"detection": detections})
    assert predictions["detection"] is detections


@pytest.mark.parametrize("at_truth_size", [False, True])
def test_predicted_batches(at_truth_size):
    """Predictions of a network have the size of its input; those in files may have any."""
    stored = {"rgb": torch.zeros(1, 3, 12, 24), "id": ["large"]}
    batch = {"rgb": torch.zeros(1, 3, *SMALL), "id": ["small"], STORED: stored}
    for size in (SMALL, (12, 24), (3, 6)):
        predictions = {"depth": torch.rand(1, 1, *size)}
        ((target, found),) = PredictedBatches([batch], lambda _, same=predictions: same, at_truth_size)
        assert target is (stored if at_truth_size else batch)
        assert torch.equal(found["depth"], resized("depth", predictions["depth"], target["rgb"].shape[-2:]))
