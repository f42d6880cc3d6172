"""B2F against plain formulas."""

import math

import pytest
import torch

from networks.fusion import FUSIONS, BiAttentionFusion, DistanceAwareAttention, SemanticAwareAttention, token_rays
from utils.sphere import erp_rays

pytestmark = pytest.mark.usefixtures("cpu_kernels")


def test_released_token_rays():
    """Token (r, c) is at u = (c - (w/2 + 0.5)) / w * 2 pi, v = (r - (h/2 + 0.5)) / h * pi."""
    height, width = 3, 6
    rays = token_rays(height, width, corrected=False)
    for r in range(height):
        for c in range(width):
            u = (c - (width / 2 + 0.5)) / width * 2 * math.pi
            v = (r - (height / 2 + 0.5)) / height * math.pi
            expected = torch.tensor([math.cos(v) * math.sin(u), math.sin(v), math.cos(v) * math.cos(u)])
            assert torch.allclose(rays[r * width + c], expected, atol=1e-6)


def test_semantic_aware_with_released_order():
    attention = SemanticAwareAttention(4).double()
    tokens, points = torch.rand(2, 6, 4).double(), torch.rand(2, 5, 4).double()
    q = attention.query(tokens)
    k, v = attention.key_value(points)[..., :4], attention.key_value(points)[..., 4:]
    weights = torch.softmax(torch.einsum("bnc,bpc->bnp", q, k) / 2, dim=-1)
    attended = torch.einsum("bnp,bpc->bnc", weights, v)
    scrambled = torch.empty_like(attended)
    for b in range(2):
        memory = [attended[b, n, c] for c in range(4) for n in range(6)]  # memory order of (C, N)
        for n in range(6):
            for c in range(4):
                scrambled[b, n, c] = memory[n * 4 + c]
    assert torch.allclose(attention(tokens, points), attention.project(scrambled))


@pytest.mark.usefixtures("small_chunks")
def test_distance_aware_against_the_formula():
    """Forward and backward."""
    attention = DistanceAwareAttention(4).double()
    tokens, points = torch.randn(2, 6, 4).double().requires_grad_(), torch.randn(2, 5, 4).double().requires_grad_()
    token_xyz, point_xyz = torch.randn(6, 3).double(), torch.randn(5, 3).double()
    q = attention.query(tokens)
    k, v = attention.key_value(points)[..., :4], attention.key_value(points)[..., 4:]
    by_feature = torch.exp(-(q[:, :, None] - k[:, None]).abs())
    by_position = attention.position(torch.exp(-(token_xyz[:, None] - point_xyz).abs()))
    weights = torch.softmax((by_feature + by_position).sum(-1) / 4, dim=-1)
    expected = attention.project(weights @ v)
    ours = attention(tokens, points, token_xyz, point_xyz)
    assert torch.allclose(ours, expected)
    inputs, upstream = [tokens, points, *attention.parameters()], torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(out, inputs, upstream) for out in (ours, expected)), strict=True):
        assert torch.allclose(a, b)


def test_gates():
    """With zero weights, both gates are 0.5 and the result is the mean of the two attentions."""
    fusion = BiAttentionFusion(4)
    torch.nn.init.zeros_(fusion.semantic_gate.weight)
    torch.nn.init.zeros_(fusion.distance_gate.weight)
    bottleneck, points, xyz = torch.rand(2, 4, 2, 4), torch.rand(2, 5, 4), torch.rand(5, 3)
    tokens = bottleneck.flatten(2).transpose(1, 2)
    semantic = fusion.semantic_aware(tokens, points)
    distance = fusion.distance_aware(tokens, points, token_rays(2, 4, corrected=False), xyz)
    expected = ((semantic + distance) / 2).transpose(1, 2).reshape(2, 4, 2, 4)
    assert torch.allclose(fusion(bottleneck, points, xyz), expected, atol=1e-6)


def test_corrected_token_rays_go_through_pixel_centers():
    rays = token_rays(4, 8, corrected=True)
    assert torch.allclose(rays, torch.tensor(erp_rays(4, 8)).flatten(0, 1).float(), atol=1e-6)


def test_corrected_semantic_attention_keeps_the_order():
    """Each token depends only on its own query."""
    attention = SemanticAwareAttention(4, corrected=True).double()
    tokens, points = torch.rand(2, 6, 4).double(), torch.rand(2, 5, 4).double()
    all_attended = attention(tokens, points)
    for n in range(6):
        assert torch.allclose(attention(tokens[:, n : n + 1], points)[:, 0], all_attended[:, n])


def test_corrected_fusion_takes_released_weights():
    """With a different result."""
    released, corrected = BiAttentionFusion(4), BiAttentionFusion(4, corrected=True)
    corrected.load_state_dict(released.state_dict())
    inputs = torch.rand(2, 4, 2, 4), torch.rand(2, 5, 4), torch.rand(5, 3)
    assert not torch.allclose(released(*inputs), corrected(*inputs))


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize(("kind", "part"), [("semantic", "semantic_aware"), ("distance", "distance_aware")])
def test_single_attention(kind, part, corrected):
    """The fused features are its output; there are no gates."""
    fusion = FUSIONS[kind](4, corrected=corrected)
    assert [name for name, _ in fusion.named_children()] == [part]
    bottleneck, points, xyz = torch.rand(2, 4, 2, 4), torch.rand(2, 5, 4), torch.rand(5, 3)
    tokens = bottleneck.flatten(2).transpose(1, 2)
    positions = () if kind == "semantic" else (token_rays(2, 4, corrected), xyz)
    expected = getattr(fusion, part)(tokens, points, *positions).transpose(1, 2).reshape(2, 4, 2, 4)
    assert torch.allclose(fusion(bottleneck, points, xyz), expected)
