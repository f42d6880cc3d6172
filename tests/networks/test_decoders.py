"""Decoders and heads against plain formulas."""

from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F

from networks import decoders
from networks.decoders import DepthHead, NormalHead, SegmentationHead, UpBlock, UpsampledConv3x3


def test_segmentation_head_is_the_papers():
    """Resize x4, 1x1 convolution to 9K, PixelShuffle(3), 3x3 average pooling: forward and backward."""
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


@pytest.mark.parametrize("size", [(3, 6), (5, 4)])
@pytest.mark.parametrize("out_channels", [1, 3])
def test_convolution_after_the_resize(out_channels, size):
    """The plain formula, forward and backward, borders included."""
    conv = UpsampledConv3x3(8, out_channels).double()
    x = torch.randn(2, 8, *size).double().requires_grad_()
    resized = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    plain = F.conv2d(resized, conv.weight, conv.bias, padding=1)
    ours = conv(x)
    assert torch.allclose(ours, plain)
    weight = torch.randn_like(ours)
    inputs = [x, conv.weight, conv.bias]
    for a, b in zip(*(torch.autograd.grad((weight * y).sum(), inputs) for y in (ours, plain)), strict=True):
        assert torch.allclose(a, b)


def test_segmentation_head_leaves_the_resize_to_the_loss():
    head = SegmentationHead(embed_dim=8, num_classes=5)
    x = torch.randn(2, 8, 4, 8)
    small = head.train()(x)
    assert torch.equal(F.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False), head.eval()(x))


def test_depth_head_stays_in_range():
    depth = DepthHead(embed_dim=8, num_classes=5)(100 * torch.randn(2, 8, 4, 8))
    assert depth.shape == (2, 1, 16, 32)
    assert depth.min() >= 0
    assert depth.max() <= 10
    assert depth.max() > 9


def test_normal_head_gives_unit_vectors():
    normal = NormalHead(embed_dim=8, num_classes=5)(torch.randn(2, 8, 4, 8))
    assert normal.shape == (2, 3, 16, 32)
    assert torch.allclose(normal.norm(dim=1), torch.ones(2, 16, 32), atol=1e-5)


def test_up_block_backward(monkeypatch):
    """The joined input is made again in the backward pass: gradients are those of the plain formula."""
    join = Mock(wraps=decoders.resize_and_join)
    monkeypatch.setattr(decoders, "resize_and_join", join)
    block = UpBlock(in_channels=3, skip_channels=2, out_channels=4).double()
    x, skip = torch.randn(2, 3, 2, 4).double().requires_grad_(), torch.randn(2, 2, 4, 8).double().requires_grad_()
    ours = block(x, skip)
    plain = torch.cat([F.interpolate(x, size=(4, 8), mode="bilinear", align_corners=True), skip], dim=1)
    for conv, norm in ((block.net[0], block.net[1]), (block.net[3], block.net[4])):
        plain = F.conv2d(plain, conv.weight, conv.bias, padding=1)
        plain = F.leaky_relu(F.batch_norm(plain, None, None, norm.weight, norm.bias, training=True), 0.01)
    assert torch.allclose(ours, plain)
    inputs, upstream = [x, skip, *block.parameters()], torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(out, inputs, upstream) for out in (ours, plain)), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    assert join.call_count == 2


def test_up_block_resizes_with_aligned_corners():
    block = UpBlock(in_channels=3, skip_channels=2, out_channels=4).eval()
    x, skip = torch.randn(1, 3, 2, 4), torch.randn(1, 2, 4, 8)
    seen = []
    block.net[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    assert block(x, skip).shape == (1, 4, 4, 8)
    corners = seen[0][:, :3, ::3, ::7]
    assert torch.allclose(corners, x[:, :, ::1, ::3])
    assert torch.equal(seen[0][:, 3:], skip)
