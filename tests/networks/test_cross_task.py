"""Cross-task attention against the plain formulas of the paper."""

import pytest
import torch

from networks.cross_task import CrossTaskAttention
from utils.tasks import TASK_NAMES

pytestmark = pytest.mark.usefixtures("cpu_kernels")


def plain_cross_task(module: CrossTaskAttention, features: dict) -> dict:
    """The same with stored attention maps, head by head."""
    tokens = {t: module.norms[t](x.flatten(2).transpose(1, 2)) for t, x in features.items()}

    def attention_map(task: str, head: slice) -> torch.Tensor:
        q = module.query_keys[task].query(tokens[task])[..., head]
        k = module.query_keys[task].key(tokens[task])[..., head]
        return torch.softmax(q @ k.transpose(1, 2) / 8, dim=-1)

    out = {}
    for task in features:
        part = module.collaborations[task]
        value = part.value(tokens[task])
        heads = [slice(64 * i, 64 * i + 64) for i in range(4)]
        b = {s: torch.cat([attention_map(s, head) @ value[..., head] for head in heads], dim=-1) for s in features}
        m0 = part.own(b[task])
        rest = [linear(b[s]) for linear, s in zip(part.others, [s for s in features if s != task], strict=True)]
        y = part.join(torch.cat([m0, *rest], dim=-1)) + m0
        out[task] = y.transpose(1, 2).reshape(features[task].shape)
    return out


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("tasks", [TASK_NAMES, ("depth", "segmentation")])
def test_against_the_plain_formula(tasks):
    module = CrossTaskAttention(256, tasks).double()
    features = {task: torch.randn(2, 256, 3, 4).double().requires_grad_() for task in tasks}
    ours, plain = module(features), plain_cross_task(module, features)
    weights = {task: torch.randn_like(x) for task, x in ours.items()}
    for task in tasks:
        assert torch.allclose(ours[task], plain[task])
    inputs = [*features.values(), *module.parameters()]
    gradients = [
        torch.autograd.grad(sum((weights[task] * out[task]).sum() for task in tasks), inputs) for out in (ours, plain)
    ]
    # The bias of the keys shifts all logits of a row equally: its gradient is zero except for rounding.
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(*gradients, strict=True))


def test_width_of_joined_parts():
    """Two tasks: 256 + 128 channels; three: 256 + 2 x 128."""
    assert CrossTaskAttention(256, ("depth", "normal")).collaborations["depth"].join.in_features == 384
    assert CrossTaskAttention(256, TASK_NAMES).collaborations["depth"].join.in_features == 512
