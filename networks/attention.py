"""Attention with one map for several sets of values, the map never stored."""

import torch
import torch.nn.functional as F

from networks.linear import linear, transposed_product
from utils.pieces import pieces


def shared_map_attention(query: torch.Tensor, key: torch.Tensor, values: list[torch.Tensor]) -> list[torch.Tensor]:
    """softmax(Q K^T / sqrt(d)) V for each of several V.

    Args:
        query: (B, heads, N, d).
        key: (B, heads, P, d).
        values: (B, heads, P, d) each.

    Returns:
        (B, heads, N, d) for each of the values.
    """
    if query.device.type != "cpu" or query.dtype not in (torch.float32, torch.float64) or torch.compiler.is_compiling():
        return [F.scaled_dot_product_attention(query, key, value) for value in values]
    attended = _PiecewiseAttention.apply(query, key, torch.cat(values, dim=-1))
    return list(attended.split([value.shape[-1] for value in values], dim=-1))


class _PiecewiseAttention(torch.autograd.Function):
    """Attention on the CPU: piece by piece of the map, which the backward pass makes anew.

    torch's own attention wants values as wide as the keys, and so a map for each set of values.
    """

    @staticmethod
    def forward(ctx, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """(B, heads, N, d), (B, heads, P, d) and (B, heads, P, e): (B, heads, N, e)."""
        attended = query.new_empty(*query.shape[:-1], value.shape[-1])
        heads = zip(*(x.flatten(0, 1) for x in (query, key, value, attended)), strict=True)
        for q, k, v, out in heads:
            k, value_columns = k.contiguous(), v.T.contiguous()
            for piece in pieces(len(q), entries_each=len(k), device=q.device):
                out[piece] = linear(_attention_map(q[piece], k), value_columns)
        ctx.save_for_backward(query, key, value, attended)
        return attended

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """With A = softmax(S), S = Q K^T / sqrt(d), O = A V:

        dV = A^T dO, dS = A * (dO V^T - sum(dO * O)), dQ = dS K / sqrt(d), dK = dS^T Q / sqrt(d).
        """
        query, key, value, attended = ctx.saved_tensors
        scale = query.shape[-1] ** -0.5
        grads = [x.new_zeros(x.shape) for x in (query, key, value)]
        tensors = (query, key, value, attended, grad, *grads)
        for q, k, v, out, d_out, d_q, d_k, d_v in zip(*(x.flatten(0, 1) for x in tensors), strict=True):
            k, v, d_out, key_columns = k.contiguous(), v.contiguous(), d_out.contiguous(), k.T * scale
            mean_grad = (d_out * out).sum(dim=-1, keepdim=True)  # (N, 1)
            for piece in pieces(len(q), entries_each=len(k), device=q.device):
                attention = _attention_map(q[piece], k)
                d_v += transposed_product(attention, d_out[piece])
                d_logits = linear(d_out[piece], v).sub_(mean_grad[piece]).mul_(attention)
                d_q[piece] = linear(d_logits, key_columns)
                d_k += transposed_product(d_logits, q[piece] * scale)
        return tuple(grads)


def _attention_map(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) of (n, d) and (P, d): (n, P)."""
    logits = linear(query * query.shape[-1] ** -0.5, key)
    return torch.softmax(logits, dim=-1, out=logits)
