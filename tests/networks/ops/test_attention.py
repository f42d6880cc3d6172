"""Attention in tiles against stored maps, forward and backward."""

import pytest
import torch

from networks.ops.attention import shared_map_attention

pytestmark = pytest.mark.usefixtures("cpu_kernels")


def plain_attention(query: torch.Tensor, key: torch.Tensor, values: list[torch.Tensor]) -> list[torch.Tensor]:
    attention = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
    return [attention @ value for value in values]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("num_values", [1, 3])
def test_against_stored_maps(num_values, dtype, tolerance, monkeypatch):
    """In several tiles both ways, the last ones smaller; inputs as `split_heads` gives them, not contiguous."""
    monkeypatch.setattr("networks.ops.attention.KEYS_PER_TILE", 3)
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


def test_values_of_another_width():
    query = torch.randn(1, 2, 3, 4)
    with pytest.raises(ValueError, match="6 wide"):
        shared_map_attention(query, query, torch.randn(1, 2, 3, 6))


def test_float32_and_16_bits():
    """float32 takes the way in tiles, bfloat16 torch's own."""
    query, key, value = torch.randn(3, 1, 2, 40, 16)
    expected = plain_attention(query, key, [value])[0]
    assert torch.allclose(shared_map_attention(query, key, value)[0], expected, atol=1e-5)
    coarse = shared_map_attention(query.bfloat16(), key.bfloat16(), value.bfloat16())[0]
    assert coarse.dtype == torch.bfloat16
    assert torch.allclose(coarse.float(), expected, atol=0.05)
