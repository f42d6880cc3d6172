"""One optimiser step: accumulation, precision, clipping, averaging, and losses that are not finite."""

import copy

import pytest
import torch

from datasets.synthetic import SyntheticRooms
from losses.balancing import build_balancing
from losses.multitask import TrainingObjective
from networks.elite360m import Elite360M
from training.balance import balancing_settings
from training.setup import AMP_TYPES, prepare_network
from training.step import Stepper
from utils.options import train_parser

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def batches() -> list[dict]:
    """Four single rooms; of the second, most depths and labels are missing."""
    rooms = [torch.utils.data.default_collate([SyntheticRooms("train", 4, 32, 64)[i]]) for i in range(4)]
    rooms[1]["depth_mask"][..., 10:] = False
    rooms[1]["semantic"][..., 5:] = -1
    return rooms


def joined(batches: list[dict]) -> dict:
    return {
        key: torch.cat([batch[key] for batch in batches])
        if isinstance(batches[0][key], torch.Tensor)
        else [x for batch in batches for x in batch[key]]
        for key in batches[0]
    }


@pytest.fixture(scope="module")
def initial() -> Elite360M:
    torch.manual_seed(0)
    return Elite360M("Elite360M_Res18", 13, ico_level=2, pretrained=False)


def stepper(initial: Elite360M, *arguments: str, frozen: bool = False) -> Stepper:
    """A fresh one; with `frozen` BatchNorm uses its running statistics, so that batches may be cut up."""
    options = train_parser().parse_args(["--learning_rate", "1e-3", "--num_epochs", "10", *arguments])
    method = build_balancing(tasks=initial.tasks, **balancing_settings(options, initial.tasks))
    objective = TrainingObjective(copy.deepcopy(initial), method, AMP_TYPES[options.amp]).train()
    prepare_network(objective.network, options)
    if frozen:
        for layer in objective.modules():
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.eval()
    return Stepper(objective, objective, options, steps_per_epoch=2, device=CPU)


def gradients(stepper: Stepper, batches: list[dict]) -> tuple[dict, dict]:
    losses, _ = stepper._backward(batches)
    return losses, {name: p.grad for name, p in stepper.objective.named_parameters() if p.grad is not None}


def test_accumulation_equals_the_large_batch(initial, batches):
    """Though one piece has few valid pixels and the largest errors lie in another."""
    large_losses, large = gradients(stepper(initial, frozen=True), [joined(batches)])
    pieces_losses, pieces = gradients(stepper(initial, frozen=True), batches)
    assert pieces_losses.keys() == large_losses.keys()
    for name, loss in large_losses.items():
        assert pieces_losses[name] == pytest.approx(loss.item(), rel=1e-5), name
    scale = max(gradient.norm() for gradient in large.values())
    for name, gradient in large.items():
        assert (pieces[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6 * scale, name


def test_accumulation_is_no_mean_of_means(initial, batches):
    """What the test above would not notice if all pieces were alike."""
    alone = [gradients(stepper(initial, frozen=True), [batch])[0]["depth"].item() for batch in batches]
    together = gradients(stepper(initial, frozen=True), batches)[0]["depth"].item()
    assert abs(sum(alone) / 4 - together) > 1e-3 * together


def test_looking_ahead_leaves_running_statistics_alone(initial, batches):
    """Four pieces count once each, not twice."""
    one, other = stepper(initial), stepper(initial)
    one._backward(batches)
    for batch in batches:
        other.objective(batch)
    ours, theirs = (dict(x.objective.network.named_buffers()) for x in (one, other))
    for name in ours:
        if "running" in name:
            assert torch.equal(ours[name], theirs[name]), name


def weights(stepper: Stepper) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in stepper.objective.network.parameters()])


def test_bf16_stays_close(initial, batches):
    """After 20 steps on the same rooms the loss differs by less than a tenth from float32's, having fallen by more."""
    losses = {}
    for amp in ("off", "bf16"):
        some = stepper(initial, "--amp", amp)
        losses[amp] = [some.step([joined(batches)]).losses["total"].item() for _ in range(20)]
    assert losses["bf16"] != losses["off"]
    assert losses["bf16"][0] == pytest.approx(losses["off"][0], rel=0.01)
    assert losses["bf16"][-1] == pytest.approx(losses["off"][-1], rel=0.1)
    assert losses["off"][-1] < 0.7 * losses["off"][0]


def test_fp16_overflow_updates_nothing_but_the_scale(initial, batches):
    """Gradients are infinite under an absurd scale: nobody may think that a step was done."""
    some = stepper(initial, "--amp", "fp16", "--ema_decay", "0.9", "--lr_schedule", "cosine")
    some.scaler.load_state_dict(some.scaler.state_dict() | {"scale": 2.0**100})
    calls = []
    some.objective.balancing.end_step = lambda: calls.append(1)
    before, rate = weights(some), some.optimizer.param_groups[0]["lr"]
    result = some.step([batches[0]])
    assert result.overflowed
    assert result.problem == "", "the losses are finite"
    assert some.scaler.get_scale() == 2.0**99
    assert torch.equal(weights(some), before)
    assert (some.scheduler.last_epoch, int(some.ema.n_averaged), calls) == (0, 0, [])
    assert some.optimizer.param_groups[0]["lr"] == rate
    some.scaler.load_state_dict(some.scaler.state_dict() | {"scale": 2.0**10})
    assert not some.step([batches[0]]).overflowed
    assert not torch.equal(weights(some), before)
    assert (some.scheduler.last_epoch, int(some.ema.n_averaged), calls) == (1, 1, [1])


def test_losses_are_float32_in_bf16(initial, batches):
    some = stepper(initial, "--amp", "bf16")
    assert {loss.dtype for loss in some.objective(batches[0]).values()} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        normal = some.objective.network(batches[0]["rgb"])["normal"]
    assert normal.dtype == torch.float32
    assert (normal.norm(dim=1) - 1).abs().max() < 1e-5


def test_channels_last_changes_layout_alone(initial, batches):
    plain, last = stepper(initial), stepper(initial, "--channels_last")
    layouts = {p.is_contiguous(memory_format=torch.channels_last) for p in last.objective.parameters() if p.ndim == 4}
    assert layouts == {True}
    a, b = plain.step([batches[0]]).losses["total"], last.step([batches[0]]).losses["total"]
    assert a.item() == pytest.approx(b.item(), rel=1e-4)


def test_clipping(initial, batches):
    """A tiny norm makes the gradients tiny: seen in the optimiser's first moment, a tenth of the gradient."""
    norms = {}
    for clip in ("0", "0.001"):
        some = stepper(initial, "--grad_clip", clip)
        some.step([batches[0]])
        moments = [state["exp_avg"] for state in some.optimizer.state.values()]
        norms[clip] = torch.stack([moment.norm() for moment in moments]).norm().item() * 10
    assert norms["0.001"] == pytest.approx(0.001, rel=1e-3)
    assert norms["0"] > 0.1


def test_moving_average(initial, batches):
    some = stepper(initial, "--ema_decay", "0.9")
    some.step([batches[0]])
    first = weights(some)
    some.step([batches[1]])
    average = torch.cat([p.detach().flatten() for p in some.network.parameters()])
    assert some.network is not some.objective.network
    # The average starts as the weights after the first step.
    assert torch.allclose(average, 0.9 * first + 0.1 * weights(some), atol=1e-7)


@pytest.mark.parametrize("decay", ["0.9", "0.999", "0.9999"])
def test_moving_average_copies_integers_and_averages_statistics(initial, batches, decay):
    """Index tables of the icosphere are no weights; running statistics belong to the averaged weights."""
    some = stepper(initial, "--ema_decay", decay)
    some.step([batches[0]])
    ours, theirs = (dict(network.named_buffers()) for network in (some.network, some.objective.network))
    first = {name: buffer.clone() for name, buffer in theirs.items()}
    for batch in batches[1:]:
        some.step([batch])
    statistics = [name for name in ours if "running" in name]
    tables = [name for name, buffer in theirs.items() if not buffer.is_floating_point()]
    assert len(tables) > 10
    assert len(statistics) > 10
    for name in tables:
        assert torch.equal(ours[name], theirs[name]), name
    for name in statistics:
        assert (ours[name] - first[name]).norm() <= (theirs[name] - first[name]).norm() * 1.01 * 3 * (1 - float(decay))


def test_weight_decay_spares_biases_and_norms(initial, batches):
    some = stepper(initial, "--weight_decay", "0.1")
    decays = {id(p): group["weight_decay"] for group in some.optimizer.param_groups for p in group["params"]}
    for name, parameter in some.objective.named_parameters():
        assert decays[id(parameter)] == (0.1 if parameter.ndim > 1 else 0), name
    assert len(decays) == len(list(some.objective.parameters()))


def test_a_loss_that_is_not_finite_changes_nothing(initial, batches):
    some = stepper(initial, "--ema_decay", "0.9")
    some.step([batches[0]])
    state = copy.deepcopy(some.state_dict())
    bad = batches[1] | {"rgb": batches[1]["rgb"].clone().fill_(torch.nan)}
    result = some.step([bad])
    assert "depth" in result.problem
    assert batches[1]["id"][0] in result.problem
    after = some.state_dict()
    for part in ("objective", "ema"):
        for name, value in state[part].items():
            assert torch.equal(after[part][name], value) or "num_batches" in name, name
    assert str(after["optimizer"]) == str(state["optimizer"])
    assert after["steps_done"] == state["steps_done"]
    assert some.step([batches[0]]).problem == "", "and it goes on"


def test_wish_to_stop_is_passed_on(initial, batches):
    some = stepper(initial)
    assert not some.step([batches[0]]).stop
    assert some.step([batches[0]], wants_to_stop=True).stop


def test_grad_norms(initial, batches):
    """Those of autograd by hand; nothing is left behind."""
    some = stepper(initial, frozen=True)
    norms = some.grad_norms(batches[0])
    assert norms.keys() == {"depth", "normal", "segmentation"}
    some.objective(batches[0])["normal"].backward()
    parameters = some.objective.network.shared_decoder.parameters()
    expected = torch.cat([p.grad.flatten() for p in parameters]).norm().item()
    assert norms["normal"] == pytest.approx(expected, rel=1e-4)


def test_grad_norms_leave_no_trace(initial, batches):
    """Not even of a batch whose activations are not finite: no momentum of 0 takes a NaN out of a mean."""
    some = stepper(initial)
    before = {name: buffer.clone() for name, buffer in some.objective.named_buffers()}
    for batch in (batches[0], batches[1] | {"rgb": batches[1]["rgb"] * torch.nan}):
        some.grad_norms(batch)
        for name, buffer in some.objective.named_buffers():
            assert torch.equal(buffer, before[name]), name


def test_resumed_with_other_options(initial, batches):
    """Rate, schedule and decay are the new ones, at the step that was reached; moments are the old ones."""
    old = stepper(initial, "--lr_schedule", "cosine")
    for batch in batches[:3]:
        old.step([batch])
    new = stepper(initial, "--lr_schedule", "poly", "--learning_rate", "0.5", "--weight_decay", "0.25")
    new.load_state_dict(old.state_dict())
    assert [group["lr"] for group in new.optimizer.param_groups] == pytest.approx([0.5 * (1 - 3 / 20) ** 0.9] * 2)
    assert [group["weight_decay"] for group in new.optimizer.param_groups] == [0.25, 0]
    [ours, theirs] = [x.optimizer.state_dict()["state"][0]["exp_avg"] for x in (new, old)]
    assert torch.equal(ours, theirs)
    assert new.scheduler.last_epoch == 3


@pytest.mark.slow
def test_compiled_network_is_the_same_network(initial, batches, monkeypatch):
    """The same loss and gradients, under the same names. All of torch.compile but for the minutes in a C++ compiler."""
    compile_module, calls = torch.nn.Module.compile, []

    def compile_quickly(module):
        calls.append(module)
        compile_module(module, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_quickly)
    (plain_losses, plain), (losses, compiled) = (
        gradients(stepper(initial, *flags, frozen=True), [batches[0]]) for flags in ((), ("--compile",))
    )
    assert [type(module) for module in calls] == [Elite360M]
    assert losses["total"].item() == pytest.approx(plain_losses["total"].item(), rel=1e-4)
    assert compiled.keys() == plain.keys()
    scale = max(gradient.norm() for gradient in plain.values())
    for name, gradient in plain.items():
        assert (compiled[name] - gradient).norm() <= 1e-2 * gradient.norm() + 1e-5 * scale, name


@pytest.mark.parametrize("flags", [(), ("--grad_clip", "1")])
def test_gradients_that_are_not_finite_change_nothing(initial, batches, flags):
    """Although the losses are: clipped or not, the optimizer would spoil all weights for good."""
    stepper_ = stepper(initial, *flags)
    before = copy.deepcopy(stepper_.objective.state_dict())
    hook = next(stepper_.objective.network.shared_decoder.parameters()).register_hook(lambda grad: grad * torch.nan)
    result = stepper_.step(batches[:1])
    hook.remove()
    assert all(loss.isfinite() for loss in result.losses.values())
    assert "gradients" in result.problem
    after = stepper_.objective.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if value.is_floating_point())
    assert not stepper_.step(batches[:1]).problem
