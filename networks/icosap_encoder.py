"""The ICOSAP encoder of Elite360M: a point transformer over the colored faces of the icosphere."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from networks.ops.attention import softmax_in_float32
from networks.ops.linear import Linear, linear
from networks.ops.recompute import checkpointed
from networks.point_hierarchy import PointHierarchy
from utils.chunks import row_chunks
from utils.sphere import icosphere, rays_to_angles


def gather_points(features: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Features (B, P, C) at indices (Q, k): (B, Q, k, C)."""
    return features.index_select(1, indices.flatten()).unflatten(1, indices.shape)


class ICOSAPSampler(nn.Module):
    """Samples the panorama at the icosphere: the color of a face is the mean over its three vertices."""

    def __init__(self, ico_level: int):
        super().__init__()
        vertices, faces = icosphere(ico_level)
        u, v = rays_to_angles(vertices)
        self.register_buffer("u", torch.tensor(u).float(), persistent=False)  # (V,) radians
        self.register_buffer("v", torch.tensor(v).float(), persistent=False)
        self.register_buffer("faces", torch.tensor(faces), persistent=False)  # (P, 3) vertices

    def forward(self, erp: torch.Tensor) -> torch.Tensor:
        """Colors (B, P, 3) of the faces from an ERP image (B, 3, H, W); bilinear, wrapping around in longitude."""
        batch, _, _, width = erp.shape
        # An extra column on either side wraps longitude around; rows are clamped at the poles ("border").
        wrapped = F.pad(erp, (1, 1, 0, 0), mode="circular")
        # grid_sample coordinates run from -1 (outer edge of the first pixel) to 1 (outer edge of the last).
        x = self.u / torch.pi * width / (width + 2)
        y = self.v / torch.pi * 2
        grid = torch.stack([x, y], dim=-1).expand(batch, 1, -1, 2)  # (B, 1, V, 2)
        vertices = F.grid_sample(wrapped, grid, padding_mode="border", align_corners=False)  # (B, 3, 1, V)
        return gather_points(vertices.squeeze(2).transpose(1, 2), self.faces).mean(dim=2)


class PointTransformerBlock(nn.Module):
    """Vector self-attention of every point over its k nearest neighbors (Zhao et al., Point Transformer, ICCV 2021):

        x = self.fc1(features)  # (B, P, d)
        position = self.position_code(xyz[:, None] - xyz[neighbors])  # (P, k, d)
        key, value = gather_points(self.key(x), neighbors), gather_points(self.value(x), neighbors)  # (B, P, k, d)
        logits = self.attention(self.query(x)[:, :, None] - key + position) / d**0.5  # (B, P, k, d)
        attended = (logits.softmax(dim=2) * (value + position)).sum(dim=2)  # (B, P, d)
        return self.fc2(attended) + features

    Args:
        channels: width of the point features.
        dim: width d inside the attention.
    """

    def __init__(self, channels: int, dim: int):
        super().__init__()
        self.fc1 = Linear(channels, dim)
        self.query = Linear(dim, dim, bias=False)
        self.key = Linear(dim, dim, bias=False)
        self.value = Linear(dim, dim, bias=False)
        self.position_code = nn.Sequential(Linear(3, dim), nn.ReLU(), Linear(dim, dim))
        self.attention = nn.Sequential(Linear(dim, dim), nn.ReLU(), Linear(dim, dim))
        self.fc2 = Linear(dim, channels)

    def forward(self, features: torch.Tensor, xyz: torch.Tensor, neighbors: torch.Tensor) -> torch.Tensor:
        """Features (B, P, channels) of points xyz (P, 3) with neighbors (P, k): new features of the same shape."""
        x = self.fc1(features)
        # The first layer of the attention MLP is linear. Applied to query, key and position separately, it sees
        # B * P queries and keys instead of B * P * k differences.
        first = self.attention[0]
        query = first(self.query(x))  # (B, P, d)
        key_value = torch.cat([linear(self.key(x), -first.weight), self.value(x)], dim=-1)  # (B, P, 2d)
        # The position code is added to the (negative) keys, after that first layer, and to the values. The last layer
        # of the code, followed by the first layer for the keys, is one linear layer.
        code = self.position_code[-1]
        weight = torch.cat([first.weight @ code.weight, code.weight])  # (2d, d)
        bias = torch.cat([first.weight @ code.bias, code.bias])
        # Elements of gathered keys and values per point; len(x) would fix B in exported graphs.
        elements_per_point = x.shape[0] * neighbors.shape[1] * key_value.shape[-1]
        attended = []
        for rows in row_chunks(len(xyz), elements_per_point, like=x):
            offsets = xyz[rows, None] - xyz[neighbors[rows]]
            # Recomputed in the backward pass; stored, they would be a fifth of all activations.
            inputs = query[:, rows], key_value, neighbors[rows], offsets, weight, bias
            attended.append(checkpointed(self._attend, *inputs))
        return self.fc2(torch.cat(attended, dim=1)) + features

    def _attend(
        self,
        query: torch.Tensor,
        key_value: torch.Tensor,
        neighbors: torch.Tensor,
        offsets: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
    ) -> torch.Tensor:
        """Attention of queries (B, p, d) over their neighbors (p, k): (B, p, d).

        The first layer of the attention MLP has already been applied to queries and keys.

        Args:
            query, neighbors: p of the P points.
            key_value: (B, P, 2d) negative keys and values of all points.
            offsets: (p, k, 3) from the neighbors to the points.
            weight, bias: (2d, d) and (2d,), last layer of the position code for keys and for values.
        """
        position = linear(self.position_code[:-1](offsets), weight, bias)  # (p, k, 2d)
        key, value = gather_points(key_value, neighbors).add_(position).chunk(2, dim=-1)  # (B, p, k, d)
        hidden = (query[:, :, None] + key).relu_()
        second = self.attention[-1]
        scale = query.shape[-1] ** -0.5  # of the logits; cheaper applied to this layer than to B * p * k vectors
        logits = linear(hidden, second.weight * scale, second.bias * scale)
        weights = softmax_in_float32(logits, dim=2)  # over the neighbors
        return (weights * value).sum(dim=2)


class TransitionDown(nn.Module):
    """Transition down: keep a quarter of the points, max-pooling an MLP over the k finer points nearest to each:

    x = cat([xyz[groups] - xyz[kept][:, None], gather_points(features, groups)], dim=-1)  # (B, P/4, k, 3 + c)
    for linear, norm in zip(self.linears, self.norms):
        x = norm(linear(x)).relu()
    return x.amax(dim=2)
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.linears = nn.ModuleList([Linear(3 + in_channels, out_channels), Linear(out_channels, out_channels)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(out_channels), nn.BatchNorm1d(out_channels)])

    def forward(
        self, features: torch.Tensor, xyz: torch.Tensor, kept: torch.Tensor, groups: torch.Tensor
    ) -> torch.Tensor:
        """Features (B, P, c) of points xyz (P, 3); kept (P/4,) and groups (P/4, k) index them: (B, P/4, out)."""
        offsets = xyz[groups] - xyz[kept][:, None]  # (P/4, k, 3)
        # The first layer is linear: it is applied to the features of P points before they are gathered, not to each
        # neighbor of each kept point.
        features = linear(features, self.linears[0].weight[:, 3:])
        # Recomputed in the backward pass; stored, the intermediate results would be a fifth of all activations.
        return checkpointed(self._pool, features, offsets, groups, modules=self.norms)

    def _pool(self, features: torch.Tensor, offsets: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Pool features (B, P, out), after the first layer, with offsets (P/4, k, 3), before it: (B, P/4, out)."""
        first, second = self.linears
        x = gather_points(features, groups)  # (B, P/4, k, out)
        x += linear(offsets, first.weight[:, :3], first.bias)
        x = self._normalize(x, self.norms[0]).relu_()
        x = self._normalize(second(x), self.norms[1])
        return x.amax(dim=2).relu()  # max and ReLU commute; fewer elements this way

    @staticmethod
    def _normalize(x: torch.Tensor, norm: nn.BatchNorm1d) -> torch.Tensor:
        """BatchNorm of (B, P, k, C), with statistics over batch, points and neighbors."""
        return norm(x.flatten(0, 2)).view_as(x)


class ICOSAPEncoder(nn.Module):
    """Transformer blocks on four sets of points, each a quarter of the previous one (5120 to 80 at level 4).

    Args:
        embed_dim: C, the width of the attention in all blocks and of the output.
        hierarchy: constant points and index tables.
    """

    def __init__(self, embed_dim: int, hierarchy: PointHierarchy):
        super().__init__()
        self._register_tables(hierarchy)
        widths = [embed_dim * 2**i for i in range(len(hierarchy.neighbors))]  # C, 2C, 4C, 8C
        self.fc1 = nn.Sequential(Linear(6, embed_dim), nn.ReLU(), Linear(embed_dim, embed_dim))
        self.transformers = nn.ModuleList([PointTransformerBlock(width, embed_dim) for width in widths])
        self.transition_downs = nn.ModuleList([TransitionDown(fine, coarse) for fine, coarse in pairwise(widths)])
        self.fc2 = nn.Sequential(
            *(Linear(widths[-1], 256), nn.ReLU(), Linear(256, 256), nn.ReLU(), Linear(256, embed_dim))
        )

    def forward(self, colors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, 80, C) and coordinates (80, 3) of the coarsest points, from the face colors (B, 5120, 3)."""
        xyz = self.coordinates
        x = self.fc1(torch.cat([xyz.expand(colors.shape[0], -1, -1), colors], dim=-1))
        x = self.transformers[0](x, xyz, self.neighbors_0)
        for i, transition_down in enumerate(self.transition_downs):
            kept, groups = getattr(self, f"kept_{i}"), getattr(self, f"groups_{i}")
            x, xyz = transition_down(x, xyz, kept, groups), xyz[kept]
            x = self.transformers[i + 1](x, xyz, getattr(self, f"neighbors_{i + 1}"))
        return self.fc2(x), xyz

    def _register_tables(self, hierarchy: PointHierarchy) -> None:
        """Register the tables as buffers, which move with the network but are not in its state dict."""
        self.register_buffer("coordinates", torch.tensor(hierarchy.coordinates).float(), persistent=False)
        for name in ("neighbors", "kept", "groups"):
            for i, table in enumerate(getattr(hierarchy, name)):
                self.register_buffer(f"{name}_{i}", torch.tensor(table).long(), persistent=False)
