"""Bi-projection bi-attention fusion (B2F): ERP tokens attend to ICOSAP points by semantics and by distance."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from networks.ops.attention import softmax_in_float32
from networks.ops.linear import Linear, tokens_to_map
from networks.ops.recompute import checkpointed
from utils.chunks import row_chunks


def token_rays(
    height: int, width: int, corrected: bool, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Unit rays (h * w, 3) of the tokens of an h x w grid, row by row.

    Corrected rays go through the pixel centers, as in `utils.sphere`. In the released code they are one cell off, and
    its trained weights depend on that.
    """
    shift = 0.5 if corrected else -0.5
    row = torch.arange(height, device=device, dtype=dtype)
    col = torch.arange(width, device=device, dtype=dtype)
    v = ((row - height / 2 + shift) / height * torch.pi)[:, None]
    u = ((col - width / 2 + shift) / width * 2 * torch.pi)[None, :]
    rays = torch.stack([v.cos() * u.sin(), v.sin().expand(-1, width), v.cos() * u.cos()], dim=-1)
    return rays.flatten(0, 1)


class SemanticAwareAttention(nn.Module):
    """Semantic-aware attention: single-head dot-product attention of the ERP tokens over the ICOSAP features.

        return self.project((query @ key.transpose(1, 2) / C**0.5).softmax(dim=-1) @ value)

    Args:
        dim: C.
        corrected: keep the order of the attended tokens. The released code reinterprets (B, C, N) as (B, N, C), a
            remnant of multi-head code that mixes tokens, and its trained weights depend on that.
    """

    def __init__(self, dim: int, corrected: bool = False):
        super().__init__()
        self._corrected = corrected
        self.query = Linear(dim, dim, bias=False)
        self.key_value = Linear(dim, 2 * dim, bias=False)
        self.project = Linear(dim, dim)

    def forward(self, tokens: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """ERP tokens (B, N, C) over ICOSAP features (B, P, C): (B, N, C)."""
        query = self.query(tokens)
        key, value = self.key_value(points).chunk(2, dim=-1)
        logits = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5  # (B, N, P)
        attended = softmax_in_float32(logits, dim=-1) @ value
        if not self._corrected:
            attended = attended.transpose(1, 2).reshape(attended.shape)
        return self.project(attended)


class DistanceAwareAttention(nn.Module):
    """Distance-aware attention, by the proximity of features and of positions on the sphere:

    by_feature = (-(query[:, :, None] - key[:, None]).abs()).exp()  # (B, N, P, C)
    by_position = self.position((-(token_xyz[:, None] - point_xyz).abs()).exp())  # (N, P, C)
    return self.project((by_feature + by_position).mean(dim=-1).softmax(dim=-1) @ value)
    """

    def __init__(self, dim: int):
        super().__init__()
        self.query = Linear(dim, dim, bias=False)
        self.key_value = Linear(dim, 2 * dim, bias=False)
        self.position = Linear(3, dim, bias=False)
        self.project = Linear(dim, dim)

    def forward(
        self, tokens: torch.Tensor, points: torch.Tensor, token_xyz: torch.Tensor, point_xyz: torch.Tensor
    ) -> torch.Tensor:
        """ERP tokens (B, N, C) at token_xyz (N, 3) over ICOSAP features (B, P, C) at point_xyz (P, 3): (B, N, C)."""
        query = self.query(tokens)
        key, value = self.key_value(points).chunk(2, dim=-1)
        chunks = row_chunks(query.shape[1], elements_per_row=key.numel(), like=query)
        similarities = [checkpointed(self._similarity, query[:, rows], key) for rows in chunks]
        by_feature = torch.cat(similarities, dim=1)  # (B, N, P)
        # mean(W_p e) over channels = mean(rows of W_p) e: no (N, P, C) tensor is needed.
        proximity = (-(token_xyz[:, None] - point_xyz[None]).abs()).exp()  # (N, P, 3)
        by_position = proximity @ self.position.weight.mean(dim=0)  # (N, P)
        attended = softmax_in_float32(by_feature + by_position, dim=-1) @ value
        return self.project(attended)

    @staticmethod
    def _similarity(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Mean over channels of exp(-|q_i - k_j|) for queries (B, n, C) and keys (B, P, C): (B, n, P)."""
        return (query[:, :, None] - key[:, None]).abs().neg_().exp_().mean(dim=-1)


class TokenFusion(nn.Module, ABC):
    """Base class of fusions in which the ERP bottleneck attends to the ICOSAP features.

    Args:
        dim: C.
        corrected: keep the order of the tokens and place them at pixel centers, unlike the released code.
    """

    def __init__(self, dim: int, corrected: bool = False):
        super().__init__()
        self._corrected = corrected

    def forward(self, bottleneck: torch.Tensor, points: torch.Tensor, point_xyz: torch.Tensor) -> torch.Tensor:
        """Bottleneck (B, C, h, w), ICOSAP features (B, P, C) at point_xyz (P, 3): fused features (B, C, h, w)."""
        height, width = bottleneck.shape[-2:]
        tokens = bottleneck.flatten(2).transpose(1, 2)  # (B, N = h * w, C)
        token_xyz = token_rays(height, width, self._corrected, bottleneck.device, point_xyz.dtype)
        return tokens_to_map(self._fuse(tokens, points, token_xyz, point_xyz), bottleneck)

    @abstractmethod
    def _fuse(
        self, tokens: torch.Tensor, points: torch.Tensor, token_xyz: torch.Tensor, point_xyz: torch.Tensor
    ) -> torch.Tensor:
        """Tokens (B, N, C) at token_xyz (N, 3) and features (B, P, C) at point_xyz (P, 3): (B, N, C)."""


class SemanticAwareFusion(TokenFusion):
    """Only semantic-aware attention."""

    def __init__(self, dim: int, corrected: bool = False):
        super().__init__(dim, corrected)
        self.semantic_aware = SemanticAwareAttention(dim, corrected)

    def _fuse(
        self, tokens: torch.Tensor, points: torch.Tensor, token_xyz: torch.Tensor, point_xyz: torch.Tensor
    ) -> torch.Tensor:
        return self.semantic_aware(tokens, points)


class DistanceAwareFusion(TokenFusion):
    """Only distance-aware attention."""

    def __init__(self, dim: int, corrected: bool = False):
        super().__init__(dim, corrected)
        self.distance_aware = DistanceAwareAttention(dim)

    def _fuse(
        self, tokens: torch.Tensor, points: torch.Tensor, token_xyz: torch.Tensor, point_xyz: torch.Tensor
    ) -> torch.Tensor:
        return self.distance_aware(tokens, points, token_xyz, point_xyz)


class BiAttentionFusion(TokenFusion):
    """B2F: semantic-aware attention s and distance-aware attention d, each weighted by a gate:

    return sigmoid(G_s cat(s, d)) * s + sigmoid(G_d cat(s, d)) * d
    """

    def __init__(self, dim: int, corrected: bool = False):
        super().__init__(dim, corrected)
        self.semantic_aware = SemanticAwareAttention(dim, corrected)
        self.distance_aware = DistanceAwareAttention(dim)
        self.semantic_gate = Linear(2 * dim, dim, bias=False)
        self.distance_gate = Linear(2 * dim, dim, bias=False)

    def _fuse(
        self, tokens: torch.Tensor, points: torch.Tensor, token_xyz: torch.Tensor, point_xyz: torch.Tensor
    ) -> torch.Tensor:
        semantic = self.semantic_aware(tokens, points)
        distance = self.distance_aware(tokens, points, token_xyz, point_xyz)
        both = torch.cat([semantic, distance], dim=-1)
        return self.semantic_gate(both).sigmoid() * semantic + self.distance_gate(both).sigmoid() * distance


FUSIONS = {"b2f": BiAttentionFusion, "semantic": SemanticAwareFusion, "distance": DistanceAwareFusion}  # of --fusion
