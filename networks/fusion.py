"""Bi-projection bi-attention fusion (B2F): the ERP tokens look at the ICOSAP points, by meaning and by distance."""

import torch
from torch import nn

from networks.linear import Linear, tokens_to_map
from networks.memory import recomputed
from networks.precision import exact_softmax
from utils.pieces import pieces


def released_token_rays(height: int, width: int, device: torch.device | None = None) -> torch.Tensor:
    """Unit rays (h * w, 3) at which the released program places the tokens of an h x w grid, row by row.

    They sit one cell off the pixel centres of `utils.sphere`; weights trained with the released program depend on it.
    """
    row = torch.arange(height, device=device)
    col = torch.arange(width, device=device)
    v = ((row - (height / 2 + 0.5)) / height * torch.pi)[:, None]
    u = ((col - (width / 2 + 0.5)) / width * 2 * torch.pi)[None, :]
    rays = torch.stack([v.cos() * u.sin(), v.sin().expand(-1, width), v.cos() * u.cos()], dim=-1)
    return rays.flatten(0, 1)


class SemanticAwareAttention(nn.Module):
    """Plain one-head attention of the ERP tokens over the ICOSAP features, with the released order of the result."""

    def __init__(self, dim: int):
        super().__init__()
        self.query = Linear(dim, dim, bias=False)
        self.key_value = Linear(dim, 2 * dim, bias=False)
        self.project = Linear(dim, dim)

    def forward(self, tokens: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """ERP tokens (B, N, C) over ICOSAP features (B, P, C): (B, N, C)."""
        query = self.query(tokens)
        key, value = self.key_value(points).chunk(2, dim=-1)
        logits = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5  # (B, N, P)
        attended = exact_softmax(logits, dim=-1) @ value
        return self.project(self._released_order(attended))

    @staticmethod
    def _released_order(attended: torch.Tensor) -> torch.Tensor:
        """Re-read (B, N, C) in the memory order of (B, C, N), which mixes tokens.

        A left-over of multi-head code in the released program; weights trained with it depend on it.
        """
        return attended.transpose(1, 2).reshape(attended.shape)


class DistanceAwareAttention(nn.Module):
    """Attention by closeness, of features and of positions on the sphere:

    logits_ij = 1/C * sum over channels of [exp(-|q_i - k_j|) + W_p exp(-|xyz_i - xyz_j|)]
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
        slices = pieces(query.shape[1], entries_each=key.numel(), device=query.device)
        by_feature = torch.cat(
            [recomputed(self._similarity, query[:, piece], key) for piece in slices], dim=1
        )  # (B, N, P)
        # The mean over the channels of W_p e is e times the mean of W_p's rows: no (N, P, C) tensor for this part.
        closeness = (-(token_xyz[:, None] - point_xyz[None]).abs()).exp()  # (N, P, 3)
        by_position = closeness @ self.position.weight.mean(dim=0)  # (N, P)
        attended = exact_softmax(by_feature + by_position, dim=-1) @ value
        return self.project(attended)

    @staticmethod
    def _similarity(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Mean over channels of exp(-|q_i - k_j|), for (B, n, C) and (B, P, C): (B, n, P)."""
        return (query[:, :, None] - key[:, None]).abs().neg_().exp_().mean(dim=-1)


class BiAttentionFusion(nn.Module):
    """B2F: both attentions, joined by two gates."""

    def __init__(self, dim: int):
        super().__init__()
        self.semantic_aware = SemanticAwareAttention(dim)
        self.distance_aware = DistanceAwareAttention(dim)
        self.semantic_gate = Linear(2 * dim, dim, bias=False)
        self.distance_gate = Linear(2 * dim, dim, bias=False)

    def forward(self, bottleneck: torch.Tensor, points: torch.Tensor, point_xyz: torch.Tensor) -> torch.Tensor:
        """Bottleneck (B, C, h, w), ICOSAP features (B, P, C) at point_xyz (P, 3): fused features (B, C, h, w)."""
        height, width = bottleneck.shape[-2:]
        tokens = bottleneck.flatten(2).transpose(1, 2)  # (B, N = h * w, C)
        token_xyz = released_token_rays(height, width, bottleneck.device)
        semantic = self.semantic_aware(tokens, points)
        distance = self.distance_aware(tokens, points, token_xyz, point_xyz)
        both = torch.cat([semantic, distance], dim=-1)
        fused = self.semantic_gate(both).sigmoid() * semantic + self.distance_gate(both).sigmoid() * distance
        return tokens_to_map(fused, height, width)
