"""Every balancing method in the training engine: training, resuming, and tasks without labels."""

import copy
import math

import pytest
import torch

from losses.balancing import BALANCINGS, build_balancing
from options.balancing import check_balancing
from options.elite360m import BALANCING_RULES, train_parser
from tests.tiny import (
    BALANCING_OPTIONS,
    KINDS,
    TASKS,
    assert_identical,
    assert_same_gradients,
    freeze_norms,
    parameters,
    step_gradients,
    tiny_batch,
    tiny_network,
    tiny_objective,
    tiny_stepper,
    valid_mask,
    without_labels,
)
from training.objective import task_losses
from utils.errors import UserError

BATCH = tiny_batch(range(4))
CUT = [tiny_batch([0]), tiny_batch([1, 2]), tiny_batch([3])]  # the same images


@pytest.mark.parametrize("name", BALANCINGS)
def test_every_method_trains(name):
    """Losses are finite and decrease; every parameter moves in the first step."""
    stepper = tiny_stepper(name, learning_rate=1e-2)
    before = parameters(stepper)
    results = [stepper.step([BATCH])]
    assert all(not torch.equal(before[name], now) for name, now in parameters(stepper).items())
    results += [stepper.step([BATCH]) for _ in range(7)]
    assert [result.problem for result in results] == [""] * 8
    first, last = (sum(task_losses(results[i].losses, TASKS)).item() for i in (0, -1))
    assert last < 0.95 * first


@pytest.mark.parametrize("missing", TASKS)
@pytest.mark.parametrize("name", BALANCINGS)
def test_parameters_of_a_task_without_labels_stay(name, missing):
    """Despite momentum from earlier steps; all others move. Its accuracy stays, too."""
    stepper = tiny_stepper(name, weight_decay=0.1)
    stepper.step([BATCH])
    balancing = stepper.objective.balancing
    balancing.validated(dict.fromkeys(TASKS, 0.3))
    own = {id(parameter) for parameter in stepper.objective.network.own_parameters(missing)}
    before = parameters(stepper)
    assert stepper.step([without_labels(BATCH, missing)]).problem == ""
    for key, parameter in stepper.objective.network.named_parameters(prefix="network"):
        assert torch.equal(before[key], parameter) == (id(parameter) in own), key
    balancing.validated({task: None if task == missing else 0.4 for task in TASKS})
    if hasattr(balancing, "accuracies"):
        assert balancing.accuracies.tolist() == pytest.approx([0.3 if task == missing else 0.31 for task in TASKS])


@pytest.mark.parametrize("missing", TASKS)
@pytest.mark.parametrize("name", [name for name, spec in BALANCINGS.items() if "keep_exponents" in spec.options])
def test_kept_exponents(name, missing):
    """Gradients are those of the product of the other losses to the power of their weights, by autograd."""
    batch = without_labels(BATCH, missing)
    stepper = tiny_stepper(name, frozen=True, options={"keep_exponents": True})
    exponents = stepper.objective.balancing.weights()
    losses, gradients = step_gradients(stepper, [batch])
    objective = tiny_objective("geometric")
    freeze_norms(objective)
    objective.begin_step([batch])
    values = dict(zip(TASKS, task_losses(objective(batch), TASKS), strict=True))
    product = math.prod(values[task] ** exponents[task] for task in TASKS if task != missing)
    product.backward()
    assert losses["total"] == pytest.approx(product.item(), rel=1e-5)
    reference = {key: p.grad for key, p in objective.named_parameters() if p.grad is not None}
    assert_same_gradients(gradients, reference)


@pytest.mark.parametrize("missing", TASKS)
def test_the_log_variance_of_a_task_without_labels_stays(missing):
    """Despite its momentum."""
    stepper = tiny_stepper("uncertainty")
    for _ in range(2):
        stepper.step([BATCH])
    before = stepper.objective.balancing.log_variances.detach().clone()
    stepper.step([without_labels(BATCH, missing)])
    moved = stepper.objective.balancing.log_variances.detach() != before
    assert moved.tolist() == [task != missing for task in TASKS]


@pytest.mark.parametrize("name", BALANCINGS)
def test_exact_resume(name):
    """A stepper that loads the state of another one takes the same next step, bit for bit."""
    first, second = tiny_stepper(name), tiny_stepper(name)
    second.step([tiny_batch([4, 5])])
    first.step([BATCH])
    for stepper in (first, second):
        stepper.objective.balancing.end_epoch()
        stepper.objective.balancing.validated(dict.fromkeys(TASKS, 0.3))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for stepper in (first, second):
        stepper.step([tiny_batch([6, 7])])
        stepper.objective.balancing.end_epoch()
    assert_identical(second.state_dict(), first.state_dict())
    assert second.objective.balancing.weights() == first.objective.balancing.weights()


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("geometric", "achievement")])
def test_several_batches_equal_one_large_batch(name):
    """Gradients, and the resulting state of the method, for losses that are means over pixels."""
    large, cut = (tiny_stepper(name, frozen=True) for _ in range(2))
    _, joint = step_gradients(large, [BATCH])
    _, gradients = step_gradients(cut, CUT)
    assert_same_gradients(gradients, joint)
    for stepper in (large, cut):
        stepper.objective.balancing.end_epoch()
    ours, theirs = (stepper.objective.balancing.state_dict() for stepper in (cut, large))
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-6, equal_nan=True)


def test_geometric_mean_is_per_batch():
    """Against the formula: f_bt c_bt dL_bt, summed over batches b and tasks t, 3 c_bt = (prod_s L_bs)^(1/3) / L_bt."""
    _, gradients = step_gradients(tiny_stepper("geometric", frozen=True), CUT)
    objective = tiny_objective("geometric")
    freeze_norms(objective)
    for batch in CUT:
        objective.begin_step([batch])
        losses = torch.stack(task_losses(objective(batch), TASKS))
        fractions = torch.stack([valid_mask(task, batch).sum() / valid_mask(task, BATCH).sum() for task in TASKS])
        coefficients = losses.detach().prod() ** (1 / 3) / (3 * losses.detach())
        (fractions * coefficients * losses).sum().backward()
    assert_same_gradients(gradients, {name: p.grad for name, p in objective.named_parameters()})


def test_geometric_gradient_is_that_of_the_product():
    """Against autograd through prod L_t^(1/3)."""
    _, gradients = step_gradients(tiny_stepper("geometric", frozen=True), [BATCH])
    objective = tiny_objective("geometric")
    freeze_norms(objective)
    torch.stack(task_losses(objective(BATCH), TASKS)).prod().pow(1 / 3).backward()
    assert_same_gradients(gradients, {name: p.grad for name, p in objective.named_parameters()})


@pytest.mark.parametrize("batches", [[BATCH], CUT], ids=["one batch", "three batches"])
def test_surgery_combines_only_shared_gradients(batches):
    """They are combined with the method's weights; all other gradients are those of the own task's loss."""
    stepper = tiny_stepper("mgda", frozen=True)
    _, gradients = step_gradients(stepper, batches)
    weights = stepper.objective.balancing.weights()
    assert sum(weights.values()) == pytest.approx(1)
    assert max(weights.values()) > 1.1 * min(weights.values())
    objective = tiny_objective("mgda")
    freeze_norms(objective)
    network = objective.network
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    expected = {}
    for task, loss in zip(TASKS, task_losses(objective(BATCH), TASKS), strict=True):
        own, shared = network.own_parameters(task), network.shared_parameters()
        found = torch.autograd.grad(loss, [*own, *shared], retain_graph=True)
        expected |= {names[id(p)]: gradient for p, gradient in zip(own, found, strict=False)}
        for p, gradient in zip(shared, found[len(own) :], strict=True):
            expected[names[id(p)]] = expected.get(names[id(p)], 0) + weights[task] * gradient
    assert_same_gradients(gradients, expected)


@pytest.mark.parametrize("name", ["fixed", "upgrad"])
def test_gradients_have_the_layout_of_their_parameters(name):
    """Fused optimizers require it."""
    stepper = tiny_stepper(name)
    stepper.objective.network.to(memory_format=torch.channels_last)
    weights = [p for p in stepper.objective.network.parameters() if p.shape[2:] == (3, 3)]
    assert {weight.is_contiguous(memory_format=torch.channels_last) for weight in weights} == {True}
    _, gradients = step_gradients(stepper, [BATCH])
    for key, parameter in stepper.objective.named_parameters():
        wide = [i for i, size in enumerate(parameter.shape) if size > 1]
        assert [parameter.stride(i) for i in wide] == [gradients[key].stride(i) for i in wide], key


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("tasks", [("kind",), ("slope", "height")])
def test_any_tasks(name, tasks):
    """A single task, and two in another order."""
    stepper = tiny_stepper(name, tiny_network(tasks=tasks))
    before = parameters(stepper)
    assert stepper.step(CUT).problem == ""
    assert all(not torch.equal(before[key], now) for key, now in parameters(stepper).items())
    assert tuple(stepper.objective.balancing.weights()) == tasks


@pytest.mark.parametrize("flags", [["--amp", "fp16"], ["--compile"]])
@pytest.mark.parametrize("name", ["gradnorm", "upgrad"])
def test_options_that_gradient_methods_reject(name, flags):
    options = train_parser().parse_args(["--balancing", name, *flags])
    with pytest.raises(UserError) as info:
        check_balancing(options, build_balancing(name, TASKS, **BALANCING_OPTIONS), BALANCING_RULES)
    assert f"--balancing {name}" in str(info.value)
    assert all(flag in str(info.value) for flag in flags)
    check_balancing(options, build_balancing("fixed", TASKS, **BALANCING_OPTIONS), BALANCING_RULES)
