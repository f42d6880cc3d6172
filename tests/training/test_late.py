"""Results that come a step late: everything else equals a stepper that waits, bit for bit."""

import copy
from collections.abc import Iterable

import pytest
import torch

from tests.tiny import KINDS, TASKS, assert_identical, tiny_batch, tiny_stepper, with_nan_input, without_labels
from training.skipping import BufferSnapshot, step_unless
from training.step import Stepper, StepResult

A, B, C = (tiny_batch([2 * i, 2 * i + 1]) for i in range(3))
WITHOUT = [without_labels(B, task) for task in TASKS]
# Steps of one or more batches. Tasks lack labels both before and after batches that have them.
STEPS = [
    *(
        [A],
        [with_nan_input(B)],
        [C],
        [WITHOUT[0]],
        [A],
        [WITHOUT[1]],
        [with_nan_input(WITHOUT[2])],
        [with_nan_input(A)],
        [WITHOUT[2]],
    ),
    *([B, without_labels(C, "kind")], [WITHOUT[0], without_labels(A, "height")], [A, with_nan_input(C)], [C], [B]),
]
BAD_FIRST = [[with_nan_input(A)], [without_labels(without_labels(A, "slope"), "kind")], [B], [WITHOUT[0]], [C]]
SETTINGS = [
    *({"optimizer": "adam", "weight_decay": 0.1}, {"weight_decay": 0.1, "grad_clip": 0.5}),
    *({"optimizer": "sgd", "ema_decay": 0.9, "weight_decay": 0.1}, {"optimizer": "sgd", "momentum": 0.0}),
    *({"optimizer": "rmsprop"}, {"ema_decay": 0.9, "grad_clip": 50.0}),
    *({"schedule": "cosine", "num_warmup_steps": 3}, {"schedule": "poly"}, {"schedule": "step", "milestones": (2, 4)}),
    {"schedule": "plateau", "plateau_patience": 0, "plateau_factor": 0.5},
]


def take(stepper: Stepper, steps: Iterable[list[dict]]) -> tuple[list[StepResult], list[dict]]:
    """The results of the steps in order, and the state of the objective after each step."""
    results, states = [], []
    for number, batches in enumerate(steps):
        results.append(stepper.step(batches, wants_to_stop=number == 4))
        states.append(copy.deepcopy(stepper.objective.state_dict()))
    results.append(stepper.settle())
    stepper.objective.balancing.end_epoch()
    stepper.objective.balancing.validated(dict.fromkeys(TASKS, 0.3))
    stepper.validated(0.5)
    return [result for result in results if result], states


def plain(result: StepResult) -> dict:
    return {**vars(result), "without_pixels": sorted(result.without_pixels)}


def whole_state(stepper: Stepper) -> dict:
    """A copy, without moments that are still zero: a skipped first update creates them, a missing one does not."""
    state = copy.deepcopy(stepper.state_dict())
    moments = state["optimizer"]["state"]
    untouched = [key for key, some in moments.items() if not any(torch.as_tensor(x).any() for x in some.values())]
    for key in untouched:
        del moments[key]
    return state


def assert_the_same(waiting: Stepper, late: Stepper, epochs: Iterable[list[list[dict]]] = (BAD_FIRST, STEPS)) -> None:
    """Compare results, states and weights after every step of all epochs."""
    for steps in epochs:
        (expected, states), (ours, our_states) = take(waiting, steps), take(late, steps)
        assert_identical([plain(result) for result in ours], [plain(result) for result in expected])
        assert_identical(our_states, states)
        assert_identical(whole_state(late), whole_state(waiting))


@pytest.mark.parametrize("name", [*KINDS, "rlw"])
def test_balancing_methods(name):
    assert_the_same(*(tiny_stepper(name, late=late, learning_rate=1e-2) for late in (False, True)))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings(settings):
    assert_the_same(*(tiny_stepper(late=late, **settings) for late in (False, True)))


def test_a_good_step_first():
    assert_the_same(*(tiny_stepper("rlw", late=late, ema_decay=0.9) for late in (False, True)), [STEPS])


def test_the_steps_cover_every_outcome():
    """Good and bad steps, a request to stop, and steps without labels of each task."""
    results, _ = take(tiny_stepper(), STEPS)
    assert [bool(result.problem) for result in results].count(True) == 4
    assert [result.stop for result in results] == [number == 4 for number in range(len(STEPS))]
    assert {task for result in results for task in result.without_pixels} == set(TASKS)
    assert [len(result.without_pixels) for result in take(tiny_stepper(), BAD_FIRST)[0]] == [0, 2, 0, 1, 0]


def test_results_come_a_step_late():
    stepper = tiny_stepper(late=True)
    assert stepper.step([A]) is None
    assert stepper.step([with_nan_input(B)]).problem == ""
    with pytest.raises(RuntimeError):
        stepper.state_dict()
    assert "image/2" in stepper.settle().problem
    assert stepper.settle() is None
    assert stepper.step([A]) is None


@pytest.mark.parametrize("settings", [{"balancing": "upgrad"}, {"optimizer": "rmsprop"}, {}])
def test_results_are_not_late_where_the_host_waits(settings):
    late = tiny_stepper(**settings, late=bool(settings))
    fp16 = tiny_stepper(amp_type=torch.float16, fp16=True, late=True)
    for stepper in (late, fp16):
        assert "image/0" in stepper.step([with_nan_input(A)]).problem
        assert stepper.settle() is None


@pytest.mark.parametrize("name", ["uncertainty", "rlw", "gradnorm"])
@pytest.mark.parametrize("cut", [1, 2, 4, 7, 8])
def test_resuming_after_any_step(name, cut):
    """From the state of a late stepper, by a late one and by one that waits."""
    settings = {"schedule": "cosine", "ema_decay": 0.9, "learning_rate": 1e-2}
    whole = tiny_stepper(name, late=True, **settings)
    for batches in STEPS:
        whole.step(batches)
    whole.settle()
    first = tiny_stepper(name, late=True, **settings)
    for batches in STEPS[:cut]:
        first.step(batches)
    first.settle()
    for late in (True, False):
        resumed = tiny_stepper(name, late=late, **settings)
        resumed.load_state_dict(copy.deepcopy(first.state_dict()))
        for batches in STEPS[cut:]:
            resumed.step(batches)
        resumed.settle()
        assert_identical(whole_state(resumed), whole_state(whole))


def test_an_update_follows_the_outcome_of_the_last_step():
    """The learning rate depends on it; the gradients are computed before."""
    stepper, events = tiny_stepper(late=True, schedule="cosine"), []
    stepper.objective.network.last_shared_weight.register_hook(lambda _: events.append("backward"))
    stepper.optimizer.register_step_pre_hook(lambda *_: events.append("update"))
    settle = stepper.settle
    stepper.settle = lambda: events.append("settle") or settle()
    for batches in ([A], [B]):
        stepper.step(batches)
    one = ["backward", "settle", *["update"] * (1 + len(TASKS))]
    assert events == one + one


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_parameters_are_skipped_with_their_moments(optimizer):
    """Parameters, moments and step counters of the others are those of a plain step."""
    ours, theirs = (tiny_stepper(optimizer=optimizer, weight_decay=0.1, learning_rate=1e-2) for _ in range(2))
    for stepper in (ours, theirs):
        stepper.step([A])
        stepper.objective(B)["total"].backward()
    skipped = list(ours.objective.network.own_parameters("slope"))
    others = [parameter for parameter in ours.objective.parameters() if all(parameter is not some for some in skipped)]
    skipped[0].grad.fill_(torch.nan)
    for parameter in theirs.objective.network.own_parameters("slope"):
        parameter.grad = None
    step_unless(ours.optimizer, [(others, torch.tensor(False)), (skipped, torch.tensor(True))])
    theirs.optimizer.step()
    assert_identical(ours.objective.state_dict(), theirs.objective.state_dict())
    assert_identical(ours.optimizer.state_dict(), theirs.optimizer.state_dict())
    assert all(parameter.grad is None for parameter in ours.objective.parameters())


@pytest.mark.parametrize("condition", [True, False])
def test_buffers_are_restored_on_a_condition(condition):
    """Buffers of several types and shapes; integer tables are constants."""
    module = torch.nn.Module()
    start = {"mean": torch.rand(3), "map": torch.rand(2, 2), "count": torch.tensor(5), "wide": torch.ones(2).double()}
    for name, value in start.items():
        module.register_buffer(name, value.clone())
    module.register_buffer("table", torch.arange(3))
    snapshot = BufferSnapshot(module)
    snapshot.take()
    for name in start:
        getattr(module, name).mul_(torch.nan if start[name].is_floating_point() else 2)
    changed = copy.deepcopy(module.state_dict())
    snapshot.restore_if(torch.tensor(condition))
    assert_identical(dict(module.state_dict()), dict(changed | start if condition else changed))
    snapshot.restore()
    assert_identical(dict(module.state_dict()), dict(changed | start))


def test_a_skipped_first_update_leaves_sgd_momentum_at_zero(monkeypatch):
    """torch would leave it uninitialized; also for a state without momentum, of an optimizer that is not fused."""
    first, waiting = (tiny_stepper(optimizer="sgd", late=late) for late in (True, False))
    state = first.state_dict()
    state["optimizer"]["state"] = {}
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = None
    first.load_state_dict(state)
    monkeypatch.setattr(torch, "empty_like", lambda x, **_: torch.full_like(x, torch.nan))
    for stepper in (first, waiting):
        for batch in (with_nan_input(A), without_labels(A, "kind"), A):
            stepper.step([batch])
        stepper.settle()
    assert_identical(first.objective.state_dict(), waiting.objective.state_dict())
    assert torch.isfinite(first.objective.network.last_shared_weight).all()
