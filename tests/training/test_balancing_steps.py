"""Every balancing method with a real network: it trains, resumes, and leaves alone what has no labels."""

import argparse
import copy
import os

import pytest
import torch
import torch.multiprocessing as mp

from datasets.synthetic import SyntheticRooms
from losses.balancing import BALANCINGS, build_balancing
from networks.elite360m import Elite360M
from tasks import TASKS, build_objective
from training.balance import balancing_settings, check_balancing
from training.objective import task_losses
from training.setup import optimization_settings
from training.step import Stepper
from utils.distributed import parallelise, process_group
from utils.errors import UserError
from utils.options import train_parser
from utils.tasks import TASK_VALUES, parse_tasks

CPU = torch.device("cpu")
POTENTIAL = ["--potential", "depth=0.8", "normal=0.6", "segmentation=0.5"]
LABELS = {"depth": "depth_mask", "normal": "normal_mask", "segmentation": "semantic"}


def options_for(name: str, *arguments: str) -> argparse.Namespace:
    potential = POTENTIAL if "potential" in BALANCINGS[name].options else []
    arguments = ["--balancing", name, "--learning_rate", "1e-3", "--num_epochs", "10", *potential, *arguments]
    return train_parser().parse_args(arguments)


def build(network: Elite360M, name: str, *arguments: str, frozen: bool = False) -> Stepper:
    """A fresh one around a copy of the network; with `frozen` BatchNorm uses its running statistics."""
    options = options_for(name, *arguments)
    method = build_balancing(tasks=network.tasks, **balancing_settings(options, network.tasks))
    objective = build_objective(copy.deepcopy(network), method).train()
    if frozen:
        for layer in objective.modules():
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.eval()
    return Stepper(objective, parallelise(objective, CPU), optimization_settings(options, steps_per_epoch=2), CPU)


def rooms(start: int, stop: int, step: int = 1) -> dict:
    """A batch of rooms; valid pixels lie unevenly."""
    dataset = SyntheticRooms("train", 8, 32, 64)
    batch = torch.utils.data.default_collate([dataset[i] for i in range(start, stop, step)])
    if start == 0:
        batch["depth_mask"][0, ..., 10:] = False
        batch["semantic"][0, ..., 5:] = -1
    return batch


def without_labels(batch: dict, task: str) -> dict:
    key = LABELS[task]
    return batch | {key: torch.full_like(batch[key], -1 if task == "segmentation" else 0)}


def network_of(tasks: tuple[str, ...] = tuple(TASKS), **parts) -> Elite360M:
    """With running statistics of rooms: without them hardly any gradient reaches the encoder through frozen ones."""
    torch.manual_seed(0)
    network = Elite360M("Elite360M_Res18", 13, tasks, ico_level=2, pretrained=False, **parts)
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(rooms(0, 4)["rgb"])
    for norm in norms:
        norm.momentum = 0.1
    return network


@pytest.fixture(scope="module")
def network() -> Elite360M:
    return network_of()


@pytest.fixture(scope="module")
def batch() -> dict:
    return rooms(0, 2)


def parameters(stepper: Stepper) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in stepper.objective.parameters()]


@pytest.mark.parametrize("name", BALANCINGS)
def test_every_method_trains(name, network, batch):
    """Two steps: the losses are finite, every parameter has moved, and the second step is better than the first."""
    stepper = build(network, name, "--max_bad_steps", "1")
    before = parameters(stepper)
    results = [stepper.step([batch]) for _ in range(2)]
    assert [result.problem for result in results] == ["", ""]
    assert all(not torch.equal(a, b) for a, b in zip(before, parameters(stepper), strict=True))
    first, second = (sum(task_losses(result.losses, network.tasks)).item() for result in results)
    assert second < first


@pytest.mark.parametrize("missing", TASKS)
@pytest.mark.parametrize("name", BALANCINGS)
def test_a_task_without_labels_is_left_alone(name, missing, network, batch):
    """Its own parameters stay, though the optimiser has momentum from earlier steps; all others move; its accuracy
    stays too."""
    stepper = build(network, name, "--weight_decay", "0.1")
    stepper.step([batch])
    balancing = stepper.objective.balancing
    balancing.validated(dict.fromkeys(TASKS, 0.3))
    own = {id(parameter) for parameter in stepper.objective.network.own_parameters(missing)}
    before = parameters(stepper)
    assert stepper.step([without_labels(batch, missing)]).problem == ""
    for old, new in zip(before, stepper.objective.parameters(), strict=True):
        assert torch.equal(old, new) == (id(new) in own)
    balancing.validated({task: None if task == missing else 0.4 for task in TASKS})
    if hasattr(balancing, "accuracies"):
        assert balancing.accuracies.tolist() == pytest.approx([0.3 if task == missing else 0.31 for task in TASKS])


def test_the_log_variance_of_a_task_without_labels_stays(network, batch):
    """Though the optimiser has momentum for it."""
    stepper = build(network, "uncertainty")
    for _ in range(2):
        stepper.step([batch])
    before = stepper.objective.balancing.log_variances.detach().clone()
    stepper.step([without_labels(batch, "normal")])
    moved = stepper.objective.balancing.log_variances.detach() != before
    assert moved.tolist() == [True, False, True]


def test_gradients_have_the_layout_of_their_parameters(network, batch):
    """Fused optimisers want it."""
    stepper = build(network, "upgrad")
    stepper.objective.network.to(memory_format=torch.channels_last)
    stepper._backward([batch])
    for name, parameter in stepper.objective.network.named_parameters():
        wide = [i for i, size in enumerate(parameter.shape) if size > 1]
        assert [parameter.stride(i) for i in wide] == [parameter.grad.stride(i) for i in wide], name


@pytest.mark.parametrize("name", BALANCINGS)
def test_exact_resume(name, network, batch):
    """The state of one goes into another that has seen something else: the next step is the same, bit for bit."""
    first, second = build(network, name), build(network, name)
    second.step([rooms(2, 4)])
    first.step([batch])
    for stepper in (first, second):
        stepper.objective.balancing.end_epoch()
        stepper.objective.balancing.validated(dict.fromkeys(TASKS, 0.3))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for stepper in (first, second):
        stepper.step([rooms(4, 6)])
    for a, b in zip(parameters(first), parameters(second), strict=True):
        assert torch.equal(a, b)
    assert first.objective.balancing.weights() == second.objective.balancing.weights()


def gradients(stepper: Stepper, batches: list[dict]) -> dict[str, torch.Tensor]:
    _, finite = stepper._backward(batches)
    assert finite
    return {name: p.grad.clone() for name, p in stepper.objective.named_parameters() if p.grad is not None}


def assert_same_gradients(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    scale = max(gradient.norm() for gradient in theirs.values())
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-6 * scale, name


# One of each kind: a sum, a product, a method that reads values, one that reads norms, one that reads all gradients.
KINDS = ["fixed", "achievement", "dwa", "gradnorm", "upgrad"]


@pytest.mark.parametrize("name", KINDS)
def test_accumulation_equals_the_large_batch(name, network):
    large, cut = (build(network, name, frozen=True) for _ in range(2))
    joint = gradients(large, [rooms(0, 3)])
    assert_same_gradients(gradients(cut, [rooms(0, 1), rooms(1, 3)]), joint)
    if name == "achievement":
        alone = gradients(build(network, name, frozen=True), [rooms(0, 1)])
        name = "network.erp_encoder.backbone.conv1.weight"
        assert (alone[name] - joint[name]).norm() > 0.1 * joint[name].norm() > 1e-4
    for stepper in (large, cut):
        stepper.objective.balancing.end_step()
        stepper.objective.balancing.end_epoch()
    assert large.objective.balancing.weights() == pytest.approx(cut.objective.balancing.weights(), rel=1e-3)


def test_geometric_gradient_is_that_of_the_product(network, batch):
    """Against autograd through prod L_t^(1/3), with the real network."""
    stepper = build(network, "geometric", frozen=True)
    ours = gradients(stepper, [batch])
    plain = build(network, "geometric", frozen=True)
    losses = task_losses(plain.objective(batch), network.tasks)
    (losses[0] * losses[1] * losses[2]).pow(1 / 3).backward()
    theirs = {name: p.grad for name, p in plain.objective.named_parameters() if p.grad is not None}
    assert_same_gradients(ours, theirs)


def test_surgery_changes_shared_parameters_alone(network, batch):
    """Those are combined with the method's weights; every other has the gradient of its own task's loss."""
    stepper = build(network, "mgda", frozen=True)
    ours = gradients(stepper, [batch])
    weights = stepper.objective.balancing.weights()
    plain = build(network, "mgda", frozen=True)
    losses = dict(zip(network.tasks, task_losses(plain.objective(batch), network.tasks), strict=True))
    names = {id(parameter): name for name, parameter in plain.objective.named_parameters()}
    expected = {}
    for task, loss in losses.items():
        own, shared = plain.objective.network.own_parameters(task), plain.objective.network.shared_parameters()
        found = torch.autograd.grad(loss, [*own, *shared], retain_graph=True)
        expected |= {names[id(p)]: gradient for p, gradient in zip(own, found, strict=False)}
        for p, gradient in zip(shared, found[len(own) :], strict=True):
            expected[names[id(p)]] = expected.get(names[id(p)], 0) + weights[task] * gradient
    assert_same_gradients(ours, expected)
    assert sum(weights.values()) == pytest.approx(1)


@pytest.mark.parametrize("tasks", TASK_VALUES)
@pytest.mark.parametrize("cross_task", ["coco", "none"])
def test_who_reaches_what(tasks, cross_task, batch):
    """Own parameters get gradients from the losses of one task, shared ones from those of all tasks together."""
    tasks = parse_tasks(tasks)
    network = network_of(tasks, cross_task=cross_task)
    objective = build_objective(network).train()
    losses = task_losses(objective(batch), tasks)
    reached = {id(parameter): set() for parameter in network.parameters()}
    for task, loss in zip(tasks, losses, strict=True):
        found = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(network.parameters(), found, strict=True):
            if gradient is not None and gradient.any():  # attention has zeros for the values of other tasks
                reached[id(parameter)].add(task)
    for task in tasks:
        assert all(reached[id(parameter)] == {task} for parameter in network.own_parameters(task))
    assert all(reached[id(parameter)] == set(tasks) for parameter in network.shared_parameters())


@pytest.mark.parametrize("name", ["gradnorm", "mgda"])
def test_a_loss_that_is_not_finite_changes_nothing(name, network, batch):
    stepper = build(network, name)
    stepper.step([batch])
    before, weights = parameters(stepper), stepper.objective.balancing.weights()
    result = stepper.step([batch | {"rgb": batch["rgb"] * torch.nan}])
    assert "depth" in result.problem
    assert all(torch.equal(a, b) for a, b in zip(before, parameters(stepper), strict=True))
    assert stepper.objective.balancing.weights() == weights
    assert stepper.step([batch]).problem == ""


@pytest.mark.parametrize(("flags", "message"), [(["--amp", "fp16"], "fp16"), (["--compile"], "leave --compile")])
@pytest.mark.parametrize("name", ["gradnorm", "upgrad"])
def test_what_methods_that_read_gradients_refuse(name, flags, message):
    options = options_for(name, *flags)
    with pytest.raises(UserError, match=message):
        check_balancing(options, build_balancing(tasks=tuple(TASKS), **balancing_settings(options, tuple(TASKS))))


def of_process(rank: int, processes: int, folder: str, port: int) -> None:
    if processes > 1:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        os.environ.update(LOCAL_RANK=str(rank), CUDA_VISIBLE_DEVICES="")
    torch.set_num_threads(1)
    with process_group([0]):
        results = {}
        for name in [*KINDS, "pcgrad", "rlw"]:
            stepper = build(network_of(), name, frozen=True)
            torch.manual_seed(rank)
            results[name] = gradients(stepper, [rooms(rank, 4, processes)])
            stepper.objective.balancing.end_step()
            stepper.objective.balancing.end_epoch()
            results[name]["weights"] = torch.tensor(list(stepper.objective.balancing.weights().values()))
        torch.save(results, f"{folder}/{processes}_{rank}.pth")


@pytest.mark.slow
def test_two_processes_do_the_step_of_one(tmp_path):
    """Of each kind of method: the same gradients and weights as one process with the joint batch."""
    mp.spawn(of_process, (2, str(tmp_path), 29621), nprocs=2)
    of_process(0, 1, str(tmp_path), 0)
    first, second, alone = (torch.load(tmp_path / f"{name}.pth", weights_only=True) for name in ("2_0", "2_1", "1_0"))
    for name, theirs in alone.items():
        assert all(torch.equal(first[name][key], second[name][key]) for key in theirs), name
        assert_same_gradients(first[name], theirs)
