"""Attention against the plain formula with stored maps, forward and backward."""

import pytest
import torch

from networks.ops.attention import shared_map_attention

pytestmark = pytest.mark.usefixtures("cpu_kernels")


def plain_attention(query: torch.Tensor, key: torch.Tensor, values: list[torch.Tensor]) -> list[torch.Tensor]:
    attention = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
    return [attention @ value for value in values]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("num_values", [1, 3])
def test_against_stored_maps(num_values, dtype, tolerance, monkeypatch):
    """With several chunks, of which the last is smaller, and non-contiguous inputs as from `split_heads`."""
    monkeypatch.setattr("networks.ops.attention.ROWS_AT_ONCE", 3)
    query, key, *values = (
        torch.randn(2, points, 3, 4, dtype=dtype).transpose(1, 2).requires_grad_()
        for points in (7, 5, *[5] * num_values)
    )
    ours, plain = shared_map_attention(query, key, torch.cat(values, dim=-1)), plain_attention(query, key, values)
    assert all(torch.allclose(a, b, atol=tolerance) for a, b in zip(ours, plain, strict=True))
    upstream = [torch.randn_like(x) for x in ours]
    gradients = (torch.autograd.grad(outputs, [query, key, *values], upstream) for outputs in (ours, plain))
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=tolerance)


def test_wrong_width_of_values():
    query = torch.randn(1, 2, 3, 4)
    with pytest.raises(ValueError, match="6 wide"):
        shared_map_attention(query, query, torch.randn(1, 2, 3, 6))


def test_extreme_logits():
    """Exponentials do not overflow, and are not all zero."""
    query, key, value = torch.randn(3, 1, 2, 6, 4)
    query, key = 1000 * query, 1000 * key
    plain = plain_attention(query, key, [value])[0]
    assert torch.allclose(shared_map_attention(query, key, value)[0], plain, atol=1e-5)


@pytest.mark.parametrize("num_values", [1, 3])
def test_16_bits(num_values):
    """Forward and backward, against the plain formula in float32."""
    tensors = [torch.randn(1, 2, 40, 16).bfloat16().requires_grad_() for _ in range(2 + num_values)]
    query, key, *values = (x.detach().float().requires_grad_() for x in tensors)
    plain = plain_attention(query, key, values)
    ours = shared_map_attention(tensors[0], tensors[1], torch.cat(tensors[2:], dim=-1))
    assert all(
        a.dtype == torch.bfloat16 and torch.allclose(a.float(), b, atol=0.02) for a, b in zip(ours, plain, strict=True)
    )
    upstream = [torch.randn_like(x) for x in plain]
    gradients = torch.autograd.grad(ours, tensors, [x.bfloat16() for x in upstream])
    expected = torch.autograd.grad(plain, [query, key, *values], upstream)
    assert all((a.float() - b).norm() < 0.02 * b.norm() for a, b in zip(gradients, expected, strict=True))
