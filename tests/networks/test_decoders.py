"""Decoders against plain formulas."""

import weakref

import torch
import torch.nn.functional as F

from networks import decoders
from networks.decoders import UpBlock


def test_up_block_backward(monkeypatch):
    """The joined input is recomputed in the backward pass: gradients are those of the plain formula."""
    join, joined = decoders.resize_and_join, []

    def watched_join(*some: torch.Tensor) -> torch.Tensor:
        y = join(*some)
        joined.append(weakref.ref(y.untyped_storage()))
        return y

    monkeypatch.setattr(decoders, "resize_and_join", watched_join)
    block = UpBlock(in_channels=3, skip_channels=2, out_channels=4).double()
    x, skip = torch.randn(2, 3, 2, 4).double().requires_grad_(), torch.randn(2, 2, 4, 8).double().requires_grad_()
    ours = block(x, skip)
    plain = torch.cat([F.interpolate(x, size=(4, 8), mode="bilinear", align_corners=True), skip], dim=1)
    for conv, norm in ((block.net[0], block.net[1]), (block.net[3], block.net[4])):
        plain = F.conv2d(plain, conv.weight, conv.bias, padding=1)
        plain = F.leaky_relu(F.batch_norm(plain, None, None, norm.weight, norm.bias, training=True), 0.01)
    assert torch.allclose(ours, plain)
    assert len(joined) == 1
    assert joined[0]() is None, "freed after the forward pass"
    inputs, upstream = [x, skip, *block.parameters()], torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(out, inputs, upstream) for out in (ours, plain)), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    assert len(joined) == 2


def test_up_block_resizes_with_aligned_corners():
    block = UpBlock(in_channels=3, skip_channels=2, out_channels=4).eval()
    x, skip = torch.randn(1, 3, 2, 4), torch.randn(1, 2, 4, 8)
    seen = []
    block.net[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    assert block(x, skip).shape == (1, 4, 4, 8)
    corners = seen[0][:, :3, ::3, ::7]
    assert torch.allclose(corners, x[:, :, ::1, ::3])
    assert torch.equal(seen[0][:, 3:], skip)
