"""One optimizer step: accumulation, precision, clipping, averaging, and non-finite losses."""

import copy

import pytest
import torch

from losses.reduction import LossSum
from tests.tiny import (
    TASKS,
    assert_identical,
    assert_same_gradients,
    parameters,
    step_gradients,
    tiny_batch,
    tiny_loss,
    tiny_network,
    tiny_stepper,
    valid_mask,
    with_nan_input,
    without_labels,
)

BATCH = tiny_batch(range(4))
CUT = [tiny_batch([0]), tiny_batch([1, 2]), tiny_batch([3])]  # the same images


def norm(tensors: dict[str, torch.Tensor]) -> float:
    return torch.stack([tensor.norm() for tensor in tensors.values()]).norm().item()


@pytest.mark.parametrize("intermediate", [True, False])
def test_all_labeled_pixels_of_a_step_have_the_same_weight(intermediate):
    """Losses that are means over pixels, and their gradients, equal those of one large batch."""
    network = tiny_network(intermediate=intermediate)
    joint_losses, joint = step_gradients(tiny_stepper("fixed", network, frozen=True), [BATCH])
    losses, gradients = step_gradients(tiny_stepper("fixed", network, frozen=True), CUT)
    assert losses == pytest.approx(joint_losses, rel=1e-5)
    assert_same_gradients(gradients, joint)
    single = [step_gradients(tiny_stepper("fixed", network, frozen=True), [batch])[0] for batch in CUT]
    for task in TASKS:
        counts = [valid_mask(task, batch).sum().item() for batch in CUT]
        weighted = sum(count * losses[task] for count, losses in zip(counts, single, strict=True)) / sum(counts)
        assert losses[task] == pytest.approx(weighted, rel=1e-5)
        mean_of_means = sum(losses[task] for losses in single) / len(CUT)
        assert losses[task] != pytest.approx(mean_of_means, rel=1e-3), "pixels lie unevenly"


def test_one_batch_of_a_step_without_labels():
    """The log-variance and the parameters of the task still move: another batch has labels."""
    stepper = tiny_stepper()
    network, balancing = stepper.objective.network, stepper.objective.balancing
    unlabeled = without_labels(CUT[1], "kind")
    own = [parameter.clone() for parameter in network.own_parameters("kind")]
    stepper.step([CUT[0], unlabeled])
    moved = zip(own, network.own_parameters("kind"), strict=True)
    assert all(not torch.equal(before, after) for before, after in moved)
    before = balancing.log_variances.detach().clone()
    assert before[2] != 0
    stepper.step([unlabeled, without_labels(CUT[0], "kind")])
    assert (balancing.log_variances != before).tolist() == [True, True, False]


def test_a_single_batch_has_weight_one():
    """The losses of a task without labels are 0."""
    stepper = tiny_stepper("fixed")
    losses = {name: loss.item() for name, loss in stepper.step([without_labels(BATCH, "slope")]).losses.items()}
    assert losses["slope"] == losses["intermediate_slope"] == 0
    balanced = {task: losses[task] + 0.1 * losses[f"intermediate_{task}"] for task in TASKS}
    assert losses["total"] == pytest.approx(balanced["height"] + 2 * balanced["kind"], rel=1e-6)


def test_bf16_stays_close():
    """In 20 steps on the same images, the loss differs by less than 2% from float32's and falls by 20%."""
    losses = {}
    for amp_type in (None, torch.bfloat16):
        stepper = tiny_stepper("fixed", amp_type=amp_type, learning_rate=1e-2)
        losses[amp_type] = [stepper.step([BATCH]).losses["total"].item() for _ in range(20)]
    assert losses[torch.bfloat16] != losses[None]
    assert losses[torch.bfloat16] == pytest.approx(losses[None], rel=0.02)
    assert losses[None][-1] < 0.8 * losses[None][0]


@pytest.mark.parametrize("amp_type", [torch.bfloat16, torch.float16, None])
def test_losses_are_float32(amp_type, monkeypatch):
    """They are computed from float32 predictions, final and intermediate ones."""
    stepper = tiny_stepper(amp_type=amp_type)
    head_types, loss_types = [], []

    def recorded(task: str, prediction: torch.Tensor, batch: dict) -> LossSum:
        loss_types.append(prediction.dtype)
        return tiny_loss(task, prediction, batch)

    monkeypatch.setattr("tests.tiny.tiny_loss", recorded)
    stepper.objective.network.heads["height"].register_forward_hook(lambda *args: head_types.append(args[2].dtype))
    losses = stepper.step([BATCH]).losses
    assert head_types == [amp_type or torch.float32]
    assert loss_types == 2 * len(TASKS) * [torch.float32]
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def fp16_stepper(scale: float, **settings):
    stepper = tiny_stepper(amp_type=torch.float16, fp16=True, **settings)
    stepper.scaler.load_state_dict(stepper.scaler.state_dict() | {"scale": scale})
    return stepper


def test_fp16_overflow_updates_nothing_but_the_scale():
    """Gradients are infinite with an absurd scale: nothing may count this as a step."""
    stepper = fp16_stepper(2.0**100, ema_decay=0.9, schedule="cosine")
    calls = []
    stepper.objective.balancing.end_step = lambda: calls.append(1)
    before, rate = parameters(stepper), stepper.optimizer.param_groups[0]["lr"]
    result = stepper.step([BATCH])
    assert result.overflowed
    assert result.problem == "", "the losses are finite"
    assert stepper.scaler.get_scale() == 2.0**99
    assert_identical(parameters(stepper), before)
    assert (stepper.scheduler.last_epoch, int(stepper.ema.n_averaged), calls) == (0, 0, [])
    assert stepper.optimizer.param_groups[0]["lr"] == rate
    stepper.scaler.load_state_dict(stepper.scaler.state_dict() | {"scale": 2.0**10})
    assert not stepper.step([BATCH]).overflowed
    assert norm(parameters(stepper)) != norm(before)
    assert (stepper.scheduler.last_epoch, int(stepper.ema.n_averaged), calls) == (1, 1, [1])
    assert stepper.optimizer.param_groups[0]["lr"] < rate


def test_fp16_scales_only_the_backward_pass():
    """With clipping, gradients are unscaled before they are clipped."""
    _, gradients = step_gradients(tiny_stepper(grad_clip=1e6), [BATCH])
    losses, scaled = step_gradients(fp16_stepper(2.0**8, grad_clip=1e6), [BATCH])
    assert norm(scaled) == pytest.approx(norm(gradients), rel=0.02)
    assert losses["total"] == pytest.approx(tiny_stepper().step([BATCH]).losses["total"].item(), rel=0.01)
    _, clipped = step_gradients(fp16_stepper(2.0**8, grad_clip=0.25), [BATCH])
    assert norm(clipped) == pytest.approx(0.25, rel=1e-3)


def test_clipping():
    _, gradients = step_gradients(tiny_stepper(), [BATCH])
    largest = norm(gradients)
    _, clipped = step_gradients(tiny_stepper(grad_clip=largest / 4), [BATCH])
    assert_same_gradients(clipped, {name: gradient / 4 for name, gradient in gradients.items()})
    _, untouched = step_gradients(tiny_stepper(grad_clip=largest * 4), [BATCH])
    assert_same_gradients(untouched, gradients)


def test_moving_average():
    """It starts with the weights after the first step."""
    stepper = tiny_stepper(ema_decay=0.9)
    assert stepper.network is not stepper.objective.network
    stepper.step([BATCH])
    first = dict(copy.deepcopy(stepper.objective.network).named_parameters())
    stepper.step([CUT[1]])
    now = dict(stepper.objective.network.named_parameters())
    for name, average in stepper.network.named_parameters():
        assert not torch.equal(first[name], now[name])
        torch.testing.assert_close(average, 0.9 * first[name] + 0.1 * now[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("decay", [0.9, 0.999, 0.9999])
def test_moving_average_copies_integers_and_averages_statistics(decay):
    """Integers are indices and counters; running statistics belong to the averaged weights."""
    stepper = tiny_stepper(ema_decay=decay)
    stepper.step([BATCH])
    expected = {name: buffer.clone() for name, buffer in stepper.objective.network.named_buffers()}
    for numbers in ([4, 5], [6, 7], [8, 9]):
        stepper.step([tiny_batch(numbers)])
        for name, buffer in stepper.objective.network.named_buffers():
            is_average = buffer.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * buffer if is_average else buffer.clone()
    averaged = dict(stepper.network.named_buffers())
    assert averaged["order"].tolist() == [5, 6, 7, 0, 1, 2, 3, 4]
    assert averaged["stem.1.num_batches_tracked"] == 4
    assert expected["stem.1.running_mean"].any()
    for name, value in expected.items():
        torch.testing.assert_close(averaged[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_no_moving_average():
    stepper = tiny_stepper()
    assert stepper.network is stepper.objective.network
    assert stepper.state_dict()["ema"] is None


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop"])
def test_weight_decay_excludes_biases_and_norms(optimizer):
    stepper = tiny_stepper(weight_decay=0.1, optimizer=optimizer)
    decays = {id(p): group["weight_decay"] for group in stepper.optimizer.param_groups for p in group["params"]}
    for name, parameter in stepper.objective.named_parameters():
        assert decays[id(parameter)] == (0.1 if parameter.ndim > 1 else 0), name
    assert len(decays) == len(list(stepper.objective.parameters()))
    assert "balancing.log_variances" in dict(stepper.objective.named_parameters())


def test_weight_decay_of_all_network_parameters():
    stepper = tiny_stepper(weight_decay=0.1, decays_all=True)
    decays = {id(p): group["weight_decay"] for group in stepper.optimizer.param_groups for p in group["params"]}
    for name, parameter in stepper.objective.named_parameters():
        assert decays[id(parameter)] == (0 if name == "balancing.log_variances" else 0.1), name
    assert not tiny_stepper("fixed", decays_all=True).step([BATCH]).problem, "one of the parameter groups is empty"


def test_the_floor_of_the_plateau_is_a_learning_rate():
    stepper = tiny_stepper(schedule="plateau", learning_rate=1e-3, plateau_floor=1e-4, plateau_factor=0.01, num_steps=9)
    for _ in range(12):
        stepper.validated(0.5)
    stepper.step([BATCH])
    assert stepper.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_milestones():
    stepper = tiny_stepper(schedule="step", learning_rate=1e-3, milestones=(1, 2))
    rates = []
    for _ in range(3):
        rates.append(stepper.optimizer.param_groups[0]["lr"])
        stepper.step([BATCH])
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5])


def test_schedule_follows_the_steps():
    stepper = tiny_stepper(schedule="poly", num_steps=4, num_warmup_steps=1, optimizer="sgd", learning_rate=0.1)
    rates = []
    for _ in range(4):
        rates.append(stepper.optimizer.param_groups[0]["lr"])
        stepper.step([BATCH])
    assert rates == pytest.approx([1e-4, *(0.1 * (1 - i / 3) ** 0.9 for i in range(3))])


@pytest.mark.parametrize("name", ["uncertainty", "dwa", "gradnorm", "mgda"])
def test_non_finite_losses_change_nothing(name):
    """In one of two batches; the samples are named."""
    stepper = tiny_stepper(name, ema_decay=0.9)
    stepper.step([BATCH])
    before = copy.deepcopy(stepper.state_dict())
    weights = stepper.objective.balancing.weights()
    result = stepper.step([CUT[0], with_nan_input(CUT[1])])
    assert "height" in result.problem
    assert CUT[1]["id"][0] in result.problem
    after = stepper.state_dict()
    for state in (before, after):  # BatchNorm's counters have no effect
        state["objective"] = {key: x for key, x in state["objective"].items() if "num_batches_tracked" not in key}
    assert_identical(after, before)
    assert stepper.objective.balancing.weights() == weights
    assert stepper.step([BATCH]).problem == "", "training continues"
    assert norm(parameters(stepper)) != norm({name: before["objective"][name] for name in parameters(stepper)})


def test_requests_to_stop():
    stepper = tiny_stepper()
    assert not stepper.step([BATCH]).stop
    assert stepper.step([BATCH], wants_to_stop=True).stop
    assert stepper.step([with_nan_input(BATCH)], wants_to_stop=True).stop


def test_number_of_images():
    assert tiny_stepper().step(CUT).num_images == 4


def test_grad_norms():
    """Against separate backward passes of the unweighted losses; 0 for tasks without labels."""
    stepper = tiny_stepper("fixed", frozen=True)
    norms = stepper.grad_norms(without_labels(BATCH, "kind"))
    assert norms.keys() == set(TASKS)
    assert norms["kind"] == 0
    assert all(parameter.grad is None for parameter in stepper.objective.parameters())
    for task in ("height", "slope"):
        other = tiny_stepper("fixed", frozen=True)
        other.objective(BATCH)[task].backward()
        assert norms[task] == pytest.approx(other.objective.network.last_shared_weight.grad.norm().item(), rel=1e-4)


@pytest.mark.parametrize("name", ["uncertainty", "gradnorm", "upgrad"])
def test_grad_norms_leave_no_trace(name):
    """Not even of a batch with non-finite activations, which would stay in running statistics forever."""
    ours, theirs = tiny_stepper(name), tiny_stepper(name)
    for batch in (BATCH, with_nan_input(BATCH)):
        before = copy.deepcopy(ours.state_dict())
        ours.grad_norms(batch)
        assert_identical(ours.state_dict(), before)
    ours.step([CUT[1]])
    theirs.step([CUT[1]])
    assert_identical(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resuming_with_other_options(optimizer):
    """Rate, schedule and decay are new, at the resumed step; moments are those of the state."""
    old = tiny_stepper(schedule="cosine", optimizer=optimizer)
    for batch in CUT:
        old.step([batch])
    new = tiny_stepper(schedule="poly", learning_rate=0.5, weight_decay=0.25, optimizer=optimizer)
    new.load_state_dict(copy.deepcopy(old.state_dict()))
    assert [group["lr"] for group in new.optimizer.param_groups] == pytest.approx([0.5 * (1 - 3 / 20) ** 0.9] * 2)
    assert [group["weight_decay"] for group in new.optimizer.param_groups] == [0.25, 0]
    assert old.optimizer.state_dict()["state"]
    assert_identical(new.optimizer.state_dict()["state"], old.optimizer.state_dict()["state"])
    new.step([BATCH])
    assert new.optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * (1 - 4 / 20) ** 0.9)


def test_resuming_restores_the_fp16_scale():
    old, new = fp16_stepper(2.0**7), tiny_stepper(amp_type=torch.float16, fp16=True)
    old.step([BATCH])
    new.load_state_dict(copy.deepcopy(old.state_dict()))
    assert new.scaler.get_scale() == 2.0**7


@pytest.mark.parametrize(("balancing", "clip"), [("uncertainty", 0.0), ("uncertainty", 1.0), ("upgrad", 0.0)])
def test_non_finite_gradients_change_nothing(balancing, clip):
    """Of finite losses, with and without clipping, and if the method combines gradients."""
    stepper = tiny_stepper(balancing, grad_clip=clip)
    before = copy.deepcopy(stepper.objective.state_dict())
    hook = stepper.objective.network.last_shared_weight.register_hook(lambda grad: grad * torch.nan)
    result = stepper.step([BATCH])
    hook.remove()
    assert all(loss.isfinite() for loss in result.losses.values())
    assert "gradients" in result.problem
    after = stepper.objective.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if value.is_floating_point())
    assert not stepper.step([BATCH]).problem


def test_fp16_overflow_at_a_scale_below_one_is_a_problem():
    """Otherwise a training could continue forever without a step."""
    stepper = fp16_stepper(2.0)
    hook = stepper.objective.network.last_shared_weight.register_hook(lambda grad: grad * torch.inf)
    problems = [stepper.step([BATCH]).problem for _ in range(3)]
    hook.remove()
    assert problems[0] == "", "the scale may be too large"
    assert "half precision" in problems[2]


def test_tasks_without_pixels():
    stepper = tiny_stepper()
    assert stepper.step([BATCH]).without_pixels == frozenset()
    task = stepper.objective.network.tasks[0]
    assert stepper.step([without_labels(BATCH, task)]).without_pixels == {task}
    overflowing = fp16_stepper(2.0**100).step([without_labels(BATCH, task)])
    assert (overflowing.overflowed, overflowing.without_pixels) == (True, {task})


def test_the_rate_falls_on_a_plateau_of_scores():
    """After two validations without a better score, from the next step on; also in a resumed training."""
    settings = {"schedule": "plateau", "plateau_factor": 0.5, "plateau_patience": 1, "learning_rate": 1e-2}
    stepper, rates = tiny_stepper(**settings), []
    for score in (0.1, 0.3, 0.2, 0.3, 0.4):
        stepper.validated(score)
        stepper.step([BATCH])
        rates.append(stepper.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-2, 1e-2, 1e-2, 5e-3, 5e-3])
    resumed = tiny_stepper(**settings)
    resumed.load_state_dict(copy.deepcopy(stepper.state_dict()))
    for some in (stepper, resumed):
        some.validated(0.4)
        some.validated(0.1)
        some.step([BATCH])
        assert some.optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-3)
    other = tiny_stepper(learning_rate=1e-2)
    for _ in range(5):
        other.validated(0.0)
        other.step([BATCH])
    assert other.optimizer.param_groups[0]["lr"] == 1e-2, "other schedules ignore scores"


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "rmsprop"])
def test_optimizers(name):
    """Each takes a step and has its decay and momentum."""
    stepper = tiny_stepper(optimizer=name, learning_rate=1e-3, weight_decay=0.1, momentum=0.8)
    group, spared = stepper.optimizer.param_groups
    assert (group["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert group.get("momentum", 0.8) == 0.8
    weight = stepper.objective.network.last_shared_weight
    before = weight.detach().clone()
    assert not stepper.step([BATCH]).problem
    assert not torch.equal(weight, before)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="lamb"):
        tiny_stepper(optimizer="lamb")
