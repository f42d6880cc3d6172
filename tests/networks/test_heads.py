"""Heads against plain formulas, and ranges and types of their outputs."""

import pytest
import torch
import torch.nn.functional as F

from networks.heads import HEADS, INTERMEDIATE_HEADS, DepthHead, NormalHead, SegmentationHead
from utils.tasks import TASK_NAMES

pytestmark = pytest.mark.usefixtures("cpu_kernels")


def test_all_tasks_have_heads():
    assert tuple(HEADS) == tuple(INTERMEDIATE_HEADS) == TASK_NAMES


def test_segmentation_head():
    """The paper's: resize x4, 1x1 convolution to 9K, PixelShuffle(3), 3x3 average pooling; forward and backward."""
    head = SegmentationHead(embed_dim=8, num_classes=5).double().eval()
    x = torch.randn(2, 8, 4, 8).double().requires_grad_()
    plain = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    plain = F.avg_pool2d(F.pixel_shuffle(head.conv(plain), 3), 3)
    ours = head(x)
    assert ours.shape == (2, 5, 16, 32)
    assert torch.allclose(ours, plain)
    weight = torch.randn_like(ours)
    inputs = [x, head.conv.weight, head.conv.bias]
    for a, b in zip(*(torch.autograd.grad((weight * y).sum(), inputs) for y in (ours, plain)), strict=True):
        assert torch.allclose(a, b)


def test_segmentation_head_in_training_mode():
    """The loss upsamples the logits."""
    head = SegmentationHead(embed_dim=8, num_classes=5)
    x = torch.randn(2, 8, 4, 8)
    small = head.train()(x)
    assert torch.equal(F.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False), head.eval()(x))


def test_depth_range():
    depth = DepthHead(embed_dim=8, num_classes=5)(100 * torch.randn(2, 8, 4, 8))
    assert depth.shape == (2, 1, 16, 32)
    assert depth.min() >= 0
    assert depth.max() <= 10
    assert depth.max() > 9


def test_normals_are_unit_vectors():
    normal = NormalHead(embed_dim=8, num_classes=5)(torch.randn(2, 8, 4, 8))
    assert normal.shape == (2, 3, 16, 32)
    assert torch.allclose(normal.norm(dim=1), torch.ones(2, 16, 32), atol=1e-5)


def test_zero_vectors_stay_finite():
    """As outputs of the convolution; with their gradient."""
    head = NormalHead(embed_dim=8, num_classes=5)
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    normal = head(torch.randn(2, 8, 4, 8))
    assert not normal.any()
    normal.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize("task", TASK_NAMES)
@pytest.mark.parametrize(
    ("dtype", "at_least"), [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64,) * 2]
)
def test_types(task, dtype, at_least):
    """At least float32 for depth and unit normals, for which 16 bits are too few."""
    head, intermediate = HEADS[task](8, 5).to(dtype), INTERMEDIATE_HEADS[task](5).to(dtype)
    predictions = head(torch.randn(1, 8, 4, 8, dtype=dtype)), intermediate(torch.randn(1, 128, 4, 8, dtype=dtype))
    are_widened = {"depth": (True, True), "normal": (True, False), "segmentation": (False, False)}[task]
    for prediction, is_widened in zip(predictions, are_widened, strict=True):
        assert prediction.dtype == (at_least if is_widened else dtype)
