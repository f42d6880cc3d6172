"""Matrix products by convolutions against plain ones, forward and backward."""

import pytest
import torch

from networks.ops.linear import Linear, linear, tokens_to_map, transposed_product

pytestmark = pytest.mark.usefixtures("cpu_kernels")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 7), (1, 7), (2, 3, 4, 7), (9, 1), (1, 1)])
@pytest.mark.parametrize("out", [1, 6])
def test_linear_is_the_sum_over_channels(shape, out, dtype):
    x = torch.randn(shape, dtype=dtype).requires_grad_()
    weight = torch.randn(out, shape[-1], dtype=dtype).requires_grad_()
    bias = torch.randn(out, dtype=dtype).requires_grad_()
    ours = linear(x, weight, bias)
    plain = (x[..., None, :] * weight).sum(dim=-1) + bias
    assert ours.shape == (*shape[:-1], out)
    assert torch.allclose(ours, plain, atol=1e-5)
    upstream = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(y, [x, weight, bias], upstream) for y in (ours, plain)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("shape", [(7,), (0, 7), (2, 0, 7)])
def test_vector_and_empty_inputs(shape):
    layer = Linear(7, 3)
    assert layer(torch.randn(shape)).shape == (*shape[:-1], 3)


def test_non_contiguous_rows():
    x = torch.randn(2, 7, 5).transpose(1, 2)
    layer = Linear(7, 3)
    assert torch.allclose(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "a", "b"), [(6, 4, 3), (1, 4, 3), (6, 1, 1)])
def test_transposed_product(rows, a, b, dtype):
    left, right = torch.randn(rows, a, dtype=dtype), torch.randn(rows, b, dtype=dtype)
    plain = (left[:, :, None] * right[:, None, :]).sum(dim=0)
    assert torch.allclose(transposed_product(left, right), plain, atol=1e-5)


def test_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(torch.randn(4, 8), torch.randn(2, 8)).dtype == torch.bfloat16


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels_last", [True, False])
def test_tokens_to_map(batch, channels_last, cpu_kernels):
    """Token (r, c) is row r * width + c; convolutions use the layout of `like`, and channels-last on CPUs."""
    tokens = torch.randn(batch, 6, 4)
    like = torch.randn(batch, 5, 2, 3)
    if channels_last:
        like = like.contiguous(memory_format=torch.channels_last)
    found = tokens_to_map(tokens, like)
    assert all(torch.equal(found[:, :, r, c], tokens[:, 3 * r + c]) for r in range(2) for c in range(3))
    out = torch.nn.Conv2d(4, 4, 1)(tokens_to_map(tokens.transpose(0, 1).contiguous().transpose(0, 1), like))
    assert out.stride() == ((24, 1, 12, 4) if channels_last or cpu_kernels else (24, 6, 3, 1))
