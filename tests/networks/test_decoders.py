"""Up blocks against plain formulas."""

import copy
import weakref

import pytest
import torch
import torch.nn.functional as F

from networks import decoders
from networks.decoders import UpBlock

pytestmark = pytest.mark.usefixtures("cpu_kernels")


def plain_up_block(block: UpBlock, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """The formula of `UpBlock`; also updates the running statistics of its BatchNorms."""
    x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
    return block.net(torch.cat([x, skip], dim=1))


@pytest.mark.parametrize("training", [True, False])
def test_up_block(training, monkeypatch):
    """Outputs, gradients and running statistics; the resized input is recomputed in the backward pass."""
    resized, storages = decoders.resized, []

    def record_resized(*inputs: torch.Tensor) -> torch.Tensor:
        y = resized(*inputs)
        storages.append(weakref.ref(y.untyped_storage()))
        return y

    monkeypatch.setattr(decoders, "resized", record_resized)
    monkeypatch.setattr("networks.ops.recompute._everywhere", True)
    block = UpBlock(in_channels=3, skip_channels=2, out_channels=4).double().train(training)
    plain_block = copy.deepcopy(block)
    x, skip = torch.randn(2, 3, 2, 4).double().requires_grad_(), torch.randn(2, 2, 4, 8).double().requires_grad_()
    ours, plain = block(x, skip), plain_up_block(plain_block, x, skip)
    assert torch.allclose(ours, plain)
    assert len(storages) == 1
    assert storages[0]() is None, "freed after the forward pass"
    upstream = torch.randn_like(ours)
    gradients = torch.autograd.grad(ours, [x, skip, *block.parameters()], upstream)
    expected = torch.autograd.grad(plain, [x, skip, *plain_block.parameters()], upstream)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(gradients, expected, strict=True))
    assert len(storages) == 2
    for ours, plain in zip(block.buffers(), plain_block.buffers(), strict=True):
        assert torch.allclose(ours, plain), "updated once"
    with torch.no_grad():
        assert torch.allclose(block(x, skip), plain_up_block(plain_block, x, skip))


def test_resize_aligns_corners():
    x, skip = torch.randn(1, 3, 2, 4), torch.randn(1, 2, 4, 8)
    large = decoders.resized(x, skip)
    assert large.shape == (1, 3, 4, 8)
    assert torch.allclose(large[:, :, ::3, ::7], x[:, :, ::1, ::3])
