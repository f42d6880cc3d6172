"""Maps at the size of the original image, against interpolation of the whole prediction."""

import pytest
import torch
import torch.nn.functional as F

from tasks import DISPLAYS
from visual import original_size

SMALL = (6, 8)


def interpolated(prediction: torch.Tensor, size, padded_size) -> torch.Tensor:
    """The upper left part (C, H, W) of a prediction interpolated to padded_size."""
    whole = F.interpolate(prediction[None], padded_size, mode="bilinear", align_corners=False)[0]
    return whole[:, : size[0], : size[1]]


@pytest.mark.parametrize(("size", "padded_size"), [((30, 40), (30, 40)), ((25, 40), (30, 40)), ((3, 2), (3, 4))])
@pytest.mark.parametrize("chunk", [1, 700, 1 << 24])
def test_bilinear(monkeypatch, size, padded_size, chunk):
    monkeypatch.setattr(original_size, "_CHUNK", chunk)
    torch.manual_seed(0)
    depth, normal, logits = (torch.randn(channels, *SMALL) for channels in (1, 3, 5))
    expected = interpolated(depth, size, padded_size)[0]
    torch.testing.assert_close(torch.from_numpy(DISPLAYS["depth"].as_map_at(depth, size, padded_size)), expected)
    expected = F.normalize(interpolated(normal, size, padded_size), dim=0).permute(1, 2, 0)
    found = torch.from_numpy(DISPLAYS["normal"].as_map_at(normal, size, padded_size))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    expected = interpolated(logits, size, padded_size).argmax(0)
    labels = torch.from_numpy(DISPLAYS["segmentation"].as_map_at(logits, size, padded_size))
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), expected)


def test_unchanged_size():
    depth = torch.randn(1, *SMALL)
    assert (DISPLAYS["depth"].as_map_at(depth, SMALL, SMALL) == depth[0].numpy()).all()
