"""Activation checkpointing: the same gradients, and intermediate results are freed between the passes."""

import copy
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from networks.elite360m import Elite360M
from networks.ops.recompute import checkpointed, recompute_everywhere
from utils.cpu_kernels import without_cpu_kernels


@pytest.fixture
def recomputation():
    """`recompute_everywhere`, which is reset after the test."""
    yield recompute_everywhere
    recompute_everywhere(False)


class OperationCounter(TorchDispatchMode):
    """Counts the operations that are executed."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func] = self.counts.get(func, 0) + 1
        return func(*args, **kwargs or {})


def test_gradients_memory_and_operations():
    """All operations but the last are repeated in each backward pass."""
    x, weight = torch.randn(2, 3, 8, 8).requires_grad_(), torch.randn(4, 3, 3, 3).requires_grad_()
    storages = []

    def function(x: torch.Tensor) -> torch.Tensor:
        large = x.sin()
        storages.append(weakref.ref(large.untyped_storage()))
        return F.conv2d(large, weight)

    expected = torch.autograd.grad(function(x).square().sum(), [x, weight])
    storages.clear()
    with OperationCounter() as counter:
        y = checkpointed(function, x)
        assert [storage() for storage in storages] == [None], "freed after the forward pass"
        loss = y.square().sum()
        gradients = [torch.autograd.grad(loss, [x, weight], retain_graph=retain) for retain in (True, False)]
    for found in gradients:
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert counter.counts[torch.ops.aten.sin.default] == 3
    assert counter.counts[torch.ops.aten.convolution.default] == 1


@pytest.mark.parametrize(("everywhere", "times"), [(False, 1), (True, 2)])
def test_gpus_recompute_only_if_enabled(everywhere, times, recomputation):
    recomputation(everywhere)
    x = torch.randn(2, 3, 8, 8).requires_grad_()
    with without_cpu_kernels(), OperationCounter() as counter:
        checkpointed(lambda x: x.sin().square().sum(), x).backward()
    assert counter.counts[torch.ops.aten.sin.default] == times


def test_gradients_of_the_network(recomputation):
    """Stored and recomputed gradients are equal bit by bit: in-place operations do not change stored results."""
    network = Elite360M("Elite360M_Res18", 4, ico_level=2, pretrained=False).train()
    rgb = torch.rand(1, 3, 32, 64)
    gradients = []
    for everywhere in (False, True):
        recomputation(everywhere)
        with without_cpu_kernels():
            predictions = network(rgb)
            loss = sum(predictions[task].square().mean() for task in network.tasks)
            used = [p for name, p in network.named_parameters() if not name.startswith("intermediate_heads")]
            gradients.append(torch.autograd.grad(loss, used))
    assert all(torch.equal(stored, again) for stored, again in zip(*gradients, strict=True))


def test_no_recomputation_without_gradients():
    calls = []
    with torch.no_grad():
        assert checkpointed(lambda x: calls.append(x) or x + 1, torch.zeros(2)).tolist() == [1, 1]
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_recomputation_uses_the_autocast_type(dtype):
    """Even though autocast has cached the weights in that type."""
    x, conv = torch.randn(2, 3, 8, 8).requires_grad_(), torch.nn.Conv2d(3, 4, 3)

    def function(x: torch.Tensor) -> torch.Tensor:
        return conv(x.sin())

    def gradients(y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert y.dtype == dtype
        return torch.autograd.grad(y.float().square().sum(), [x, *conv.parameters()])

    with torch.autocast("cpu", dtype):
        plain, ours = function(x), checkpointed(function, x)
    assert all(torch.equal(a, b) for a, b in zip(gradients(plain), gradients(ours), strict=True))


def test_running_statistics_are_updated_once():
    """Even with several backward passes."""
    x, net = torch.randn(6, 3).requires_grad_(), torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    plain_net = copy.deepcopy(net)
    loss, plain_loss = checkpointed(net, x, modules=[net]).square().sum(), plain_net(x).square().sum()
    expected = torch.autograd.grad(plain_loss, [x, *plain_net.parameters()])
    for retain in (True, False):
        gradients = torch.autograd.grad(loss, [x, *net.parameters()], retain_graph=retain)
        assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), plain_net.buffers(), strict=True))
    assert net[0].num_batches_tracked == 1
