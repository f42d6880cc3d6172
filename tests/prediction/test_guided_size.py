"""Maps at the size of the panorama, compared with plain formulas and rendered rooms."""

import cv2
import numpy as np
import pytest
import torch

from datasets.panorama import resize_rgb
from datasets.synthetic import SyntheticRooms
from prediction import guided_size
from prediction.guided_size import at_panorama_size

SMALL, LARGE = (4, 8), (12, 24)


def uniform(size) -> np.ndarray:
    return np.full((*size, 3), 90, np.uint8)


def bilinear(prediction: torch.Tensor, size) -> np.ndarray:
    """Bilinear interpolation to (C, H, W) pixel by pixel; columns wrap around."""
    prediction = prediction.numpy()
    _, h, w = prediction.shape
    result = np.empty((len(prediction), *size), np.float32)
    for row, column in np.ndindex(*size):
        y, x = (row + 0.5) * h / size[0] - 0.5, (column + 0.5) * w / size[1] - 0.5
        top, left = int(np.floor(y)), int(np.floor(x))
        result[:, row, column] = sum(
            (1 - abs(i - y)) * (1 - abs(j - x)) * prediction[:, min(max(i, 0), h - 1), j % w]
            for i in (top, top + 1)
            for j in (left, left + 1)
        )
    return result


@pytest.mark.parametrize("chunk", [1, 700, 1 << 22])
def test_one_color_is_bilinear(monkeypatch, chunk):
    monkeypatch.setattr(guided_size, "_CHUNK", chunk)
    torch.manual_seed(0)
    depth, logits = 2 + 0.05 * torch.rand(1, *SMALL), torch.randn(5, *SMALL)
    normal = torch.tensor([0.0, 0, -1])[:, None, None] + 0.1 * torch.randn(3, *SMALL)
    normal /= normal.norm(dim=0)
    predictions = {"depth": depth, "normal": normal, "segmentation": logits}
    maps = at_panorama_size(predictions, uniform(SMALL), uniform(LARGE))
    np.testing.assert_allclose(maps["depth"], bilinear(depth, LARGE)[0], rtol=1e-5)
    expected = bilinear(normal, LARGE)
    expected = (expected / np.linalg.norm(expected, axis=0)).transpose(1, 2, 0)
    np.testing.assert_allclose(maps["normal"], expected, atol=1e-5)
    np.testing.assert_array_equal(maps["segmentation"], bilinear(logits, LARGE).argmax(0))
    assert maps["segmentation"].dtype == np.uint8


def test_no_depth_between_two_surfaces():
    depth = torch.full((1, *SMALL), 2.0)
    depth[..., 3:] = 6
    maps = at_panorama_size({"depth": depth}, uniform(SMALL), uniform(LARGE))
    assert np.abs(maps["depth"][..., None] - [2, 6]).min(-1).max() < 1e-5


def test_no_normal_between_two_surfaces():
    normal = torch.zeros(3, *SMALL)
    normal[2, :, :3], normal[0, :, 3:] = -1, 1
    result = at_panorama_size({"normal": normal}, uniform(SMALL), uniform(LARGE))["normal"]
    assert (np.abs(result @ np.array([[0, 1], [0, 0], [-1, 0]])).max(-1) > 1 - 1e-5).all()


def test_edges_follow_the_colors():
    """The edge of the image divides a pixel of the prediction: two thirds of its columns are white."""
    rgb = uniform(LARGE)
    rgb[:, 10:] = 250
    labels = torch.zeros(2, *SMALL)
    labels[0, :, :3], labels[1, :, 3:] = 1, 1  # pixel 3 of the prediction covers columns 9 to 11
    result = at_panorama_size({"segmentation": labels}, resize_rgb(rgb, *SMALL), rgb)["segmentation"]
    np.testing.assert_array_equal(result[:, 6:16], np.broadcast_to(np.arange(6, 16) >= 10, (12, 10)))


def test_network_size_is_unchanged():
    depth = torch.randn(1, *SMALL)
    assert (at_panorama_size({"depth": depth}, uniform(SMALL), uniform(SMALL))["depth"] == depth[0].numpy()).all()


def test_better_than_nearest_and_bilinear_on_a_room():
    """The fractions of depths off by 5 % and of wrong labels, for ground truth at a quarter of the size, enlarged."""
    large, small = (SyntheticRooms("test", 1, height, 2 * height).read(0) for height in (256, 64))
    depth, labels = torch.tensor(small.depth)[None], torch.tensor(small.semantic.astype(np.int64))
    logits = torch.nn.functional.one_hot(labels, 14).permute(2, 0, 1).float()
    guided = at_panorama_size({"depth": depth, "segmentation": logits}, resize_rgb(large.rgb, 64, 128), large.rgb)

    def resized(values: np.ndarray, interpolation: int) -> np.ndarray:
        return cv2.resize(values, (512, 256), interpolation=interpolation)

    def errors(depth: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.array([(np.abs(depth / large.depth - 1) > 0.05).mean(), (labels != large.semantic).mean()])

    guided_error = errors(guided["depth"], guided["segmentation"])
    nearest_error = errors(*(resized(values, cv2.INTER_NEAREST) for values in (small.depth, small.semantic)))
    bilinear_labels = resized(logits.permute(1, 2, 0).numpy(), cv2.INTER_LINEAR).argmax(-1)
    bilinear_error = errors(resized(small.depth, cv2.INTER_LINEAR), bilinear_labels)
    assert (guided_error < [0.95, 0.6] * np.minimum(nearest_error, bilinear_error)).all()
