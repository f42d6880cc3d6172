"""Decoders and heads against plain formulas."""

import pytest
import torch
import torch.nn.functional as F

from networks.decoders import DepthHead, NormalHead, SegmentationHead, UpBlock, conv3x3_upsampled4


def test_segmentation_head_is_the_papers():
    """Resize x4, 1x1 convolution to 9K, PixelShuffle(3), 3x3 average pooling: forward and backward."""
    head = SegmentationHead(embed_dim=8, num_classes=5).double()
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


@pytest.mark.parametrize("out_channels", [1, 3])
def test_convolution_after_the_resize(out_channels):
    """The plain formula, forward and backward, borders included."""
    conv = torch.nn.Conv2d(8, out_channels, 3, padding=1).double()
    x = torch.randn(2, 8, 3, 6).double().requires_grad_()
    plain = conv(F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False))
    ours = conv3x3_upsampled4(x, conv)
    assert torch.allclose(ours, plain)
    weight = torch.randn_like(ours)
    inputs = [x, conv.weight, conv.bias]
    for a, b in zip(*(torch.autograd.grad((weight * y).sum(), inputs) for y in (ours, plain)), strict=True):
        assert torch.allclose(a, b)


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


def test_up_block_resizes_with_aligned_corners():
    block = UpBlock(in_channels=3, skip_channels=2, out_channels=4).eval()
    x, skip = torch.randn(1, 3, 2, 4), torch.randn(1, 2, 4, 8)
    seen = []
    block.net[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    assert block(x, skip).shape == (1, 4, 4, 8)
    corners = seen[0][:, :3, ::3, ::7]
    assert torch.allclose(corners, x[:, :, ::1, ::3])
    assert torch.equal(seen[0][:, 3:], skip)
