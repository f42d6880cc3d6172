"""Attention with one map for several sets of values, without storing the map; softmax in float32."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from networks.ops.linear import linear, transposed_product
from utils.chunks import row_chunks
from utils.cpu_kernels import use_cpu_kernels

KEYS_PER_TILE = 2048


def shared_map_attention(query: torch.Tensor, key: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """softmax(Q K^T / sqrt(d)) V for each of m sets of values V:

        attention = (query @ key.transpose(-2, -1) / d**0.5).softmax(dim=-1)  # (B, heads, N, P)
        return tuple(attention @ value for value in values.split(d, dim=-1))

    Args:
        query: (B, heads, N, d).
        key: (B, heads, P, d).
        values: (B, heads, P, m * d), the m sets concatenated.

    Returns:
        (B, heads, N, d) for each of the m.

    Raises:
        ValueError: when the width of the values is not a multiple of d.
    """
    dim = query.shape[-1]
    if values.shape[-1] % dim:
        raise ValueError(f"values are {values.shape[-1]} wide, not a multiple of {dim}")
    tiled = use_cpu_kernels(query) and not torch.compiler.is_compiling()
    if tiled and query.dtype in (torch.float32, torch.float64):
        return _TiledAttention.apply(query, key, values).split(dim, dim=-1)
    return tuple(F.scaled_dot_product_attention(query, key, value) for value in values.split(dim, dim=-1))


def exact_softmax(logits: torch.Tensor, dim: int) -> torch.Tensor:
    """Softmax in at least float32, whatever the type of the logits under autocast."""
    return logits.softmax(dim, dtype=torch.promote_types(logits.dtype, torch.float32))


class _TiledAttention(torch.autograd.Function):
    """Tiled attention on the CPU; the backward pass recomputes the map (FlashAttention, Dao et al., NeurIPS 2022).

    torch's own attention needs values as wide as the keys, so it would compute the map for each set of values.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # 16-bit inputs do not get here
    def forward(ctx, query: torch.Tensor, key: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """(B, heads, N, d), (B, heads, P, d) and (B, heads, P, e): (B, heads, N, e)."""
        query = query * query.shape[-1] ** -0.5
        attended = values.new_empty(*query.shape[:-1], values.shape[-1])
        log_sums = query.new_empty(*query.shape[:-1], 1)  # log sum exp of each row of S
        for q, k, v, out, log_sum in _heads(query, key, values, attended, log_sums):
            key_tiles = [(k[tile].contiguous(), v[tile].T.contiguous()) for tile in _tiles(len(k))]
            for rows in _rows(q, k):
                largest, total, weighted = q.new_full((), -torch.inf), 0, 0
                for key_tile, value_columns in key_tiles:
                    logits = linear(q[rows], key_tile)
                    largest_before, largest = largest, torch.maximum(largest, logits.amax(dim=-1, keepdim=True))
                    weights = logits.sub_(largest).exp_()
                    shrink = (largest_before - largest).exp()  # rescales the sums so far to the new maximum
                    total = total * shrink + weights.sum(dim=-1, keepdim=True)
                    weighted = weighted * shrink + linear(weights, value_columns)
                out[rows] = weighted / total
                log_sum[rows] = largest + total.log()
        ctx.save_for_backward(query, key, values, attended, log_sums)
        return attended

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    @once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """With A = softmax(S), S = Q K^T / sqrt(d), O = A V:

        dV = A^T dO, dS = A * (dO V^T - sum(dO * O)), dQ = dS K / sqrt(d), dK = dS^T Q / sqrt(d).
        """
        query, key, values, attended, log_sums = ctx.saved_tensors  # the query is Q / sqrt(d)
        d_query, d_key, d_values = (x.new_zeros(x.shape) for x in (query, key, values))
        mean_grads = (grad * attended).sum(dim=-1, keepdim=True)  # (B, heads, N, 1)
        tensors = (query, key, values, log_sums, grad, mean_grads, d_query, d_key, d_values)
        for q, k, v, log_sum, d_out, mean_grad, d_q, d_k, d_v in _heads(*tensors):
            for tile in _tiles(len(k)):
                key_tile, value_tile, key_columns = k[tile].contiguous(), v[tile].contiguous(), k[tile].T.contiguous()
                for rows in _rows(q, k):
                    attention = linear(q[rows], key_tile).sub_(log_sum[rows]).exp_()
                    d_v[tile] += transposed_product(attention, d_out[rows])
                    d_logits = linear(d_out[rows], value_tile).sub_(mean_grad[rows]).mul_(attention)
                    d_q[rows] += linear(d_logits, key_columns)
                    d_k[tile] += transposed_product(d_logits, q[rows])
        return d_query.mul_(query.shape[-1] ** -0.5), d_key, d_values


def _heads(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Iterate over the heads of all samples of (B, heads, ...) tensors; output tensors must be contiguous."""
    return zip(*(x.flatten(0, 1) for x in tensors), strict=True)


def _tiles(num_keys: int) -> list[slice]:
    return [slice(start, start + KEYS_PER_TILE) for start in range(0, num_keys, KEYS_PER_TILE)]


def _rows(query: torch.Tensor, key: torch.Tensor) -> list[slice]:
    return row_chunks(len(query), elements_per_row=min(len(key), KEYS_PER_TILE), like=query)
