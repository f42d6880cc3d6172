"""The ICOSAP encoder against plain formulas."""

import copy
import math

import numpy as np
import pytest
import torch

from networks.icosap_encoder import ICOSAPSampler, PointTransformerBlock, TransitionDown
from utils.sphere import angles_to_pixels, icosphere, rays_to_angles

pytestmark = pytest.mark.usefixtures("cpu_kernels")


def bilinear_wrapping(image: np.ndarray, row: float, col: float) -> np.ndarray:
    """One bilinear sample of (C, H, W): rows are clamped, columns wrap around."""
    _, height, width = image.shape
    top, left = math.floor(row), math.floor(col)
    down, right = row - top, col - left
    value = 0
    for r, weight_r in ((top, 1 - down), (top + 1, down)):
        for c, weight_c in ((left, 1 - right), (left + 1, right)):
            value = value + weight_r * weight_c * image[:, min(max(r, 0), height - 1), c % width]
    return value


def test_sampler_against_a_loop():
    image = torch.rand(2, 3, 16, 32)
    vertices, faces = icosphere(2)
    rows, cols = angles_to_pixels(*rays_to_angles(vertices), 16, 32)
    expected = np.stack(
        [np.stack([bilinear_wrapping(x.numpy(), row, col) for row, col in zip(rows, cols, strict=True)]) for x in image]
    )[:, faces].mean(axis=2)
    assert ICOSAPSampler(2)(image).numpy() == pytest.approx(expected, abs=1e-5)


def test_sampler_wraps_around():
    """Rotating the panorama is the same as rotating the points."""
    image, sampler = torch.rand(1, 3, 32, 64), ICOSAPSampler(2)
    of_rotated_image = sampler(image.roll(5, dims=-1))
    rotated = sampler.u - 5 / 64 * 2 * torch.pi
    sampler.u = torch.where(rotated < -torch.pi, rotated + 2 * torch.pi, rotated)
    assert torch.allclose(of_rotated_image, sampler(image), atol=1e-4)


@pytest.mark.usefixtures("small_chunks")
def test_transformer_block_against_plain_attention():
    """Forward, backward, and forward without gradients."""
    block = PointTransformerBlock(channels=6, dim=4).double()
    features, xyz = torch.rand(2, 5, 6).double().requires_grad_(), torch.rand(5, 3).double()
    neighbors = torch.tensor([[0, 1, 2], [1, 4, 0], [2, 3, 1], [3, 2, 4], [4, 1, 3]])
    x = block.fc1(features)
    expected = features.clone()
    for b in range(2):
        for i in range(5):
            logits, values = [], []
            for j in neighbors[i]:
                position = block.position_code(xyz[i] - xyz[j])
                logits.append(block.attention(block.query(x[b, i]) - block.key(x[b, j]) + position))
                values.append(block.value(x[b, j]) + position)
            weights = torch.softmax(torch.stack(logits) / 2, dim=0)  # sqrt(d) = 2
            expected[b, i] += block.fc2((weights * torch.stack(values)).sum(0))
    ours = block(features, xyz, neighbors)
    assert torch.allclose(ours, expected)
    inputs, upstream = [features, *block.parameters()], torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(out, inputs, upstream) for out in (ours, expected)), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(block(features, xyz, neighbors), expected)


def plain_transition_down(
    block: TransitionDown, features: torch.Tensor, xyz: torch.Tensor, kept: torch.Tensor, groups: torch.Tensor
) -> torch.Tensor:
    """The formula of `TransitionDown`, neighbor by neighbor."""
    rows = [
        torch.cat([xyz[j] - xyz[kept[i]], features[b, j]])
        for b in range(len(features))
        for i in range(len(kept))
        for j in groups[i]
    ]
    x = torch.stack(rows)
    for linear, norm in zip(block.linears, block.norms, strict=True):
        x = norm(linear(x)).relu()
    return x.view(len(features), *groups.shape, -1).max(dim=2).values


@pytest.mark.parametrize("training", [True, False])
def test_transition_down_against_a_loop(training):
    """Outputs, gradients and running statistics."""
    block = TransitionDown(in_channels=4, out_channels=8).double().train(training)
    for norm in block.norms:
        norm.running_mean.uniform_()
        norm.running_var.uniform_(0.5, 1)
    plain_block = copy.deepcopy(block)
    features, xyz = torch.rand(2, 6, 4).double().requires_grad_(), torch.rand(6, 3).double()
    kept, groups = torch.tensor([4, 1]), torch.tensor([[4, 0, 2], [1, 3, 5]])
    ours = block(features, xyz, kept, groups)
    plain = plain_transition_down(plain_block, features, xyz, kept, groups)
    assert torch.allclose(ours, plain)
    upstream = torch.randn_like(ours)
    gradients = torch.autograd.grad(ours, [features, *block.parameters()], upstream)
    expected = torch.autograd.grad(plain, [features, *plain_block.parameters()], upstream)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(gradients, expected, strict=True))
    assert all(torch.allclose(a, b) for a, b in zip(block.buffers(), plain_block.buffers(), strict=True))
