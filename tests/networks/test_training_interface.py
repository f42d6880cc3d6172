"""The interface of Elite360M to the training engine: parameters by task, precision, memory layout, compilation."""

import copy

import pytest
import torch

from datasets.synthetic import SyntheticRooms
from networks.elite360m import Elite360M
from options.elite360m import train_parser
from tasks import TASKS
from tasks.build import build_objective
from tests.tiny import freeze_norms
from training.objective import task_losses
from training.setup import prepare_network

TRIPLE = tuple(TASKS)


def rooms(num: int) -> dict:
    dataset = SyntheticRooms("train", num, 32, 64)
    return torch.utils.data.default_collate([dataset[i] for i in range(num)])


def small_network(tasks: tuple[str, ...] = TRIPLE, backbone: str = "Elite360M_Res18", **parts) -> Elite360M:
    torch.manual_seed(0)
    return Elite360M(backbone, 13, tasks, ico_level=2, pretrained=False, **parts)


def prepared(network: Elite360M, *flags: str) -> Elite360M:
    """A copy of the network, prepared for training with these flags."""
    network = copy.deepcopy(network)
    options = train_parser().parse_args(list(flags))
    prepare_network(network, options.channels_last, options.compile)
    return network.train()


@pytest.fixture(scope="module")
def network() -> Elite360M:
    return small_network()


@pytest.fixture(scope="module")
def batch() -> dict:
    return rooms(2)


@pytest.mark.parametrize(
    ("tasks", "parts"),
    [
        (TRIPLE, {}),
        (TRIPLE, {"cross_task": "none"}),
        (("normal", "segmentation"), {}),
        (("depth",), {}),
        (TRIPLE, {"fusion": "none", "intermediate": False}),
    ],
)
def test_shared_and_own_parameters(tasks, parts, batch):
    """Own parameters get gradients from the losses of one task, shared ones from the losses of all tasks."""
    network = small_network(tasks, **parts)
    losses = task_losses(build_objective(network).train()(batch), tasks)
    reached = {id(parameter): set() for parameter in network.parameters()}
    for task, loss in zip(tasks, losses, strict=True):
        found = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(network.parameters(), found, strict=True):
            if gradient is not None and gradient.any():  # attention has zeros for the values of other tasks
                reached[id(parameter)].add(task)
    for task in tasks:
        assert network.own_parameters(task)
        assert all(reached[id(parameter)] == {task} for parameter in network.own_parameters(task))
    assert all(reached[id(parameter)] == set(tasks) for parameter in network.shared_parameters())
    assert id(network.last_shared_weight) in {id(parameter) for parameter in network.shared_parameters()}
    listed = [*network.shared_parameters(), *(p for task in tasks for p in network.own_parameters(task))]
    assert sorted(map(id, listed)) == sorted(reached), "each exactly once"


def test_bf16(network, batch):
    """Convolutions run in bfloat16; losses and normals are float32."""
    objective = build_objective(copy.deepcopy(network), amp_type=torch.bfloat16).train()
    dtypes = set()
    for layer in objective.network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda *args: dtypes.add(args[2].dtype))
    losses = objective(batch)
    assert torch.bfloat16 in dtypes
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    exact = build_objective(copy.deepcopy(network)).train()(batch)
    assert losses["total"].item() == pytest.approx(exact["total"].item(), rel=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        normal = objective.network(batch["rgb"])["normal"]
    assert normal.dtype == torch.float32
    assert (normal.norm(dim=1) - 1).abs().max() < 1e-5


def test_channels_last(network, batch):
    """The layout of the weights changes, but not the loss."""
    plain, last = (prepared(network, *flags) for flags in ((), ("--channels_last",)))
    layouts = {p.is_contiguous(memory_format=torch.channels_last) for p in last.parameters() if p.ndim == 4}
    assert layouts == {True}
    ours, theirs = (build_objective(x).train()(batch)["total"].item() for x in (last, plain))
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.slow
def test_compile(batch, monkeypatch):
    """The same loss and the same gradients under the same names. Without the C++ compiler, which takes minutes."""
    compile_module, calls = torch.nn.Module.compile, []

    def compile_without_codegen(module):
        calls.append(module)
        compile_module(module, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_without_codegen)
    network = small_network(("depth", "segmentation"), backbone="timm:test_efficientnet")
    totals, gradients = [], []
    for flags in ((), ("--compile",)):
        objective = build_objective(prepared(network, *flags)).train()
        freeze_norms(objective)
        total = objective(batch)["total"]
        total.backward()
        totals.append(total.item())
        gradients.append({name: p.grad for name, p in objective.named_parameters()})
    assert [type(module) for module in calls] == [Elite360M]
    assert totals[1] == pytest.approx(totals[0], rel=1e-4)
    plain, compiled = gradients
    assert compiled.keys() == plain.keys()
    scale = max(gradient.norm() for gradient in plain.values())
    for name, gradient in plain.items():
        assert (compiled[name] - gradient).norm() <= 1e-2 * gradient.norm() + 1e-5 * scale, name
