"""Attention that applies one map to several sets of values, without storing the map; softmax in float32."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from networks.ops.linear import linear, transposed_product
from utils.cpu_kernels import use_cpu_kernels

ROWS_AT_ONCE = 512  # rows of the map; with 2048 keys they fit in the second-level caches of two cores


def shared_map_attention(query: torch.Tensor, key: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """softmax(Q K^T / sqrt(d)) V for each of m sets of values V:

        attention = (query @ key.transpose(-2, -1) / d**0.5).softmax(dim=-1)  # (B, heads, N, P)
        return tuple(attention @ value for value in values.split(d, dim=-1))

    Args:
        query: (B, heads, N, d).
        key: (B, heads, P, d).
        values: (B, heads, P, m * d), the m sets concatenated.

    Returns:
        The m attended sets, (B, heads, N, d) each.

    Raises:
        ValueError: when the width of the values is not a multiple of d.
    """
    dim = query.shape[-1]
    if values.shape[-1] % dim:
        raise ValueError(f"values are {values.shape[-1]} wide, not a multiple of {dim}")
    is_exact = query.dtype in (torch.float32, torch.float64)
    if is_exact and use_cpu_kernels(query) and not torch.compiler.is_compiling():
        return _RowwiseAttention.apply(query, key, values).split(dim, dim=-1)
    # torch's fast kernels need values as wide as the keys. Padded keys cost no more than computing the map m times.
    padding = (0, values.shape[-1] - dim)
    query, key = F.pad(query, padding), F.pad(key, padding)
    return F.scaled_dot_product_attention(query, key, values, scale=dim**-0.5).split(dim, dim=-1)


def softmax_in_float32(logits: torch.Tensor, dim: int) -> torch.Tensor:
    """Softmax in at least float32, even if autocast computed the logits in 16 bits."""
    return logits.softmax(dim, dtype=torch.promote_types(logits.dtype, torch.float32))


class _RowwiseAttention(torch.autograd.Function):
    """Attention on the CPU, in chunks of rows; the backward pass recomputes the map.

    torch's own attention needs values as wide as the keys, so it would compute the map for each set of values.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # never called with 16-bit inputs
    def forward(ctx, query: torch.Tensor, key: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Query (B, heads, N, d), key (B, heads, P, d) and values (B, heads, P, e): (B, heads, N, e)."""
        query = query * query.shape[-1] ** -0.5
        attended = values.new_empty(*query.shape[:-1], values.shape[-1])
        for q, k, v, out in _heads(query, key, values, attended):
            k, value_columns = k.contiguous(), v.T.contiguous()
            for q_rows, out_rows in zip(q.split(ROWS_AT_ONCE), out.split(ROWS_AT_ONCE), strict=True):
                out_rows.copy_(linear(linear(q_rows, k).softmax(dim=-1), value_columns))
        ctx.save_for_backward(query, key, values, attended)
        return attended

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    @once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """With A = softmax(S), S = Q K^T / sqrt(d), O = A V:

        dV = A^T dO, dS = A * (dO V^T - sum(dO * O)), dQ = dS K / sqrt(d), dK = dS^T Q / sqrt(d).
        """
        query, key, values, attended = ctx.saved_tensors  # the query is Q / sqrt(d)
        d_query, d_key, d_values = (
            query.new_empty(query.shape),
            key.new_zeros(key.shape),
            values.new_zeros(values.shape),
        )
        mean_grads = (grad * attended).sum(dim=-1, keepdim=True)  # (B, heads, N, 1)
        for q, k, v, d_out, mean_grad, d_q, d_k, d_v in _heads(
            query, key, values, grad, mean_grads, d_query, d_key, d_values
        ):
            k, v, key_columns = k.contiguous(), v.contiguous(), k.T.contiguous()
            rows = (x.split(ROWS_AT_ONCE) for x in (q, d_out, mean_grad, d_q))
            for q_rows, d_out_rows, mean_grad_rows, d_q_rows in zip(*rows, strict=True):
                attention = linear(q_rows, k).softmax(dim=-1)
                d_v += transposed_product(attention, d_out_rows)
                d_logits = linear(d_out_rows, v).sub_(mean_grad_rows).mul_(attention)
                d_q_rows.copy_(linear(d_logits, key_columns))
                d_k += transposed_product(d_logits, q_rows)
        return d_query.mul_(query.shape[-1] ** -0.5), d_key, d_values


def _heads(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Iterate over the heads of all samples in (B, heads, ...) tensors; tensors to write into must be contiguous."""
    return zip(*(x.flatten(0, 1) for x in tensors), strict=True)
