"""The convolution after upsampling against the plain formula."""

import pytest
import torch
import torch.nn.functional as F

from networks.ops.upsampled_conv import UpsampledConv3x3

pytestmark = pytest.mark.usefixtures("cpu_kernels")


@pytest.mark.parametrize("size", [(3, 6), (5, 4)])
@pytest.mark.parametrize("out_channels", [1, 3])
def test_upsampled_conv(out_channels, size):
    """Forward and backward, including the borders."""
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
