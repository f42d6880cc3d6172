"""One optimizer step, with gradient accumulation, mixed precision, balancing and weight averaging."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from training.ema import MovingAverage
from training.objective import TrainingObjective
from training.optimizers import OptimizationSettings, build_optimizer, initialize_momentum
from training.schedule import Plateau, build_scheduler
from training.setup import nondeterminism_reported
from training.skipping import BufferSnapshot, HostCopy, step_unless
from training.task_gradients import TaskGradients
from utils.distributed import all_max, gather_objects


@dataclass(frozen=True)
class StepResult:
    """Result of one optimizer step.

    Attributes:
        losses: scalars by name, over the batches of this step; their means over the processes are the losses, see
            `losses.reduction.MeanLoss`.
        num_images: number of images of this process.
        problem: the non-finite losses and their samples, because of which the step was skipped; empty if none.
        stop: whether any process requests to stop.
        overflowed: whether fp16 gradients overflowed, in which case only the loss scale was updated.
        without_pixels: tasks without any pixel that counts in the loss, in the batches of all processes.
    """

    losses: dict[str, torch.Tensor]
    num_images: int
    problem: str
    stop: bool
    overflowed: bool = False
    without_pixels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Launched:
    """A step whose outcome the host does not know yet.

    Attributes:
        losses, num_images: see `StepResult`.
        ids: ids of the images of this process.
        flags: integers, nonzero for true: whether the step is bad, whether to stop, and, per task, whether it has no
            pixels.
    """

    losses: dict[str, torch.Tensor]
    num_images: int
    ids: list[str]
    flags: HostCopy


class Stepper:
    """Takes optimizer steps: backward passes, check for non-finite values, clipping, update, schedule.

    On the CPU a step is

        backward passes, and flags: are losses and gradients finite in all processes?
        if they are: clip, update, advance the schedule
        return the result

    On a GPU the host launches the update before it knows the flags, and reads them one step later:

        backward passes, and flags, both launched only
        read the flags of the previous step; if it was good: advance the schedule
        clip and update, launched only; the GPU skips the update if the flags are bad
        return the result of the previous step

    The weights are the same, bit for bit; only results come a step late. They are not late where the host has to wait
    anyway or torch cannot skip updates on the device: with a balancing method that combines gradients, with the loss
    scale of fp16, and with optimizers that are not fused.

    Args:
        objective: the network and its losses.
        parallel_objective: the same, wrapped for distributed training.
        settings: settings of optimizer and learning rate.
        device: device of the weights.
        late: whether results may come a step late; None: only on GPUs.
    """

    def __init__(
        self,
        objective: TrainingObjective,
        parallel_objective: nn.Module,
        settings: OptimizationSettings,
        device: torch.device,
        late: bool | None = None,
    ):
        self.objective = objective
        self.device = device
        self._parallel_objective = parallel_objective
        self._grad_clip = settings.grad_clip
        self._task_gradients = TaskGradients(objective) if objective.balancing.gradient_scope != "none" else None
        self.optimizer = build_optimizer(objective.network, objective.balancing, settings)
        lowest = settings.plateau_floor / settings.learning_rate if settings.learning_rate else 0.0
        self._plateau = Plateau(settings.plateau_factor, settings.plateau_patience, lowest)
        self._build_scheduler = partial(
            build_scheduler,
            self.optimizer,
            settings.schedule,
            num_steps=settings.num_steps,
            num_warmup_steps=settings.num_warmup_steps,
            further_factor=lambda: self._plateau.factor,
            milestones=settings.milestones,
        )
        self._reads_scores = settings.schedule == "plateau"
        self.scheduler = self._build_scheduler()
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.fp16)
        self.ema = None
        if settings.ema_decay:
            self.ema = MovingAverage(objective.network, settings.ema_decay)
        self._buffers = BufferSnapshot(objective)
        self._own = {task: objective.network.own_parameters(task) for task in objective.network.tasks}
        of_one_task = {parameter for own in self._own.values() for parameter in own}
        self._shared = [parameter for parameter in objective.parameters() if parameter not in of_one_task]
        may_be_late = device.type == "cuda" if late is None else late
        waits = settings.fp16 or objective.balancing.gradient_scope == "shared"
        self._is_late = may_be_late and not waits and bool(self.optimizer.defaults.get("fused"))
        self._launched: _Launched | None = None  # the last step, if its result is still to come

    @property
    def network(self) -> nn.Module:
        """The network to evaluate and to save: the moving average of the weights if there is one."""
        return self.objective.network if self.ema is None else self.ema.module

    def step(self, batches: list[dict], wants_to_stop: bool = False) -> StepResult | None:
        """One update from `batches` and those of the other processes.

        When a loss or gradient is non-finite in any process, no process updates its weights.

        Returns:
            The result of this step. If results come late, that of the previous step, or None if it is known already.
        """
        self._buffers.take()
        with nondeterminism_reported():
            losses, finite = self._backward(batches)
        # One exchange for all flags: except for some balancing methods, the host needs nothing else from the GPU.
        own_flags = [~finite, torch.full_like(finite, wants_to_stop), *~self.objective.has_pixels]
        flags = all_max(torch.stack(own_flags).int())
        ids = [sample for batch in batches for sample in batch.get("id", ())]
        launched = _Launched(losses, sum(len(batch["rgb"]) for batch in batches), ids, HostCopy(flags))
        if not self._is_late:
            return self._update_now(launched)
        earlier = self.settle()  # the update depends on it
        self._launched = launched
        self._update_on_device(flags.bool())
        return earlier

    def settle(self) -> StepResult | None:
        """Wait for the result of the last step, if it is late, and return it. Call this before anything but a step."""
        launched, self._launched = self._launched, None
        if launched is None:
            return None
        is_bad, stop, without_pixels = self._outcome(launched)
        if is_bad:
            self.objective.balancing.undo_step()
            return _bad_result(launched, stop)
        return self._advance(launched, stop, without_pixels)

    def _outcome(self, launched: _Launched) -> tuple[bool, bool, frozenset[str]]:
        """Whether a step is bad, whether to stop, and the tasks without pixels."""
        is_bad, stop, *without_pixels = launched.flags.read()
        tasks = zip(self.objective.network.tasks, without_pixels, strict=True)
        return bool(is_bad), bool(stop), frozenset(task for task, nothing in tasks if nothing)

    def _update_now(self, launched: _Launched) -> StepResult:
        """Wait for the outcome of a step, and update the weights unless it is bad."""
        is_bad, stop, without_pixels = self._outcome(launched)
        if is_bad:
            self._buffers.restore()  # running statistics may be non-finite, too
            self.optimizer.zero_grad()
            return _bad_result(launched, stop)
        self._clip()  # before removing zero gradients, as in `_update_on_device`: they may change how sums are rounded
        self._skip_update(without_pixels)
        self.scaler.step(self.optimizer)
        overflowed = self._update_scale()
        self.optimizer.zero_grad()
        if overflowed:
            # The initial scale is too large and decreases in a few steps; below 1 the scale is not the cause.
            problem = "gradients in half precision" if self.scaler.get_scale() < 1 else ""
            return StepResult(launched.losses, launched.num_images, problem, stop, True, without_pixels)
        self.objective.balancing.end_step()
        if self.ema:
            self.ema.update_parameters(self.objective.network)
        return self._advance(launched, stop, without_pixels)

    def _update_on_device(self, flags: torch.Tensor) -> None:
        """As `_update_now`, but on the device and without a result. `flags`: (2 + T,) bool, see `_Launched`."""
        is_bad, _, *without_pixels = flags
        self._clip()
        of_tasks = [(own, is_bad | nothing) for own, nothing in zip(self._own.values(), without_pixels, strict=True)]
        step_unless(self.optimizer, [(self._shared, is_bad), *of_tasks])
        self.objective.balancing.end_step()
        self._buffers.restore_if(is_bad)
        if self.ema:
            self.ema.update_parameters(self.objective.network, unless=is_bad)

    def _advance(self, launched: _Launched, stop: bool, without_pixels: frozenset[str]) -> StepResult:
        """After an update, advance learning rate schedule and EMA count; return the result of the step."""
        self.scheduler.step()
        if self.ema:
            self.ema.n_averaged += 1
        return StepResult(launched.losses, launched.num_images, "", stop, without_pixels=without_pixels)

    def validated(self, score: float) -> None:
        """Tell the schedule the score of a validation; higher is better."""
        if self._reads_scores:
            self._plateau.validated(score)

    def _clip(self) -> None:
        if self._grad_clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.objective.parameters(), self._grad_clip)

    def _update_scale(self) -> bool:
        """Update the loss scale of fp16; return whether gradients overflowed, so that the step was skipped."""
        before = self.scaler.get_scale()
        self.scaler.update()
        return self.scaler.get_scale() < before

    def _skip_update(self, tasks: Iterable[str]) -> None:
        """Remove the gradients of tasks without labels, so that momentum does not update their parameters."""
        for task in tasks:
            for parameter in self._own[task]:
                parameter.grad = None

    def _backward(self, batches: list[dict]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Compute the gradients of a step of one or more batches.

        All labeled pixels of the step have the same weight, as in one large batch. Exceptions are BatchNorm, which
        normalizes each batch separately, and quantities that losses derive from a batch: the threshold of berHu, and
        the number of normals that are not excluded.

        Returns:
            The losses, and a boolean tensor: whether losses and gradients are finite in this process.
        """
        task_gradients = self._task_gradients
        no_backward = task_gradients is not None and task_gradients.replaces_backward
        # DistributedDataParallel requires a backward pass after each forward pass.
        objective = self.objective if no_backward else self._parallel_objective
        totals: dict[str, torch.Tensor] = {}
        for number, (batch, fractions) in enumerate(
            zip(batches, self.objective.begin_step(batches), strict=True), start=1
        ):
            with nullcontext() if number == len(batches) else _without_sync(objective):
                losses = objective(batch, fractions)
                if task_gradients:
                    task_gradients.add(losses)
                if not no_backward:
                    self.scaler.scale(losses["total"]).backward()
            totals = {name: totals.get(name, 0) + loss.detach() for name, loss in losses.items()}
        finite = totals["total"].isfinite()
        if task_gradients:
            finite = finite & task_gradients.finish()
        gradients = [parameter.grad for parameter in self.objective.parameters() if parameter.grad is not None]
        if gradients and not self.scaler.is_enabled():  # the fp16 scaler checks them itself
            finite = finite & torch.stack(torch._foreach_norm(gradients)).isfinite().all()
        return totals, finite

    def grad_norms(self, batch: dict) -> dict[str, float]:
        """Norm of the gradient of each task's unweighted loss at the last shared layer, in this process."""
        norms = {}
        with _frozen_statistics(self.objective):  # also while backward passes recompute parts of the network
            self.objective.begin_step([batch])
            losses = self.objective(batch)
            for task in self.objective.network.tasks:
                weight = self.objective.network.last_shared_weight
                [gradient] = torch.autograd.grad(losses[task], [weight], retain_graph=True, materialize_grads=True)
                norms[task] = gradient.norm().item()
        return norms

    def state_dict(self) -> dict:
        """Everything that the next step depends on, except the options.

        Raises:
            RuntimeError: when the last step is not settled.
        """
        if self._launched:
            raise RuntimeError("call settle() before saving the state")
        return {
            "optimizer": self.optimizer.state_dict(),
            "steps_done": self.scheduler.last_epoch,
            "plateau": self._plateau.state_dict(),
            "scaler": self.scaler.state_dict(),
            "objective": self.objective.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore a `state_dict`, but keep the learning rate, schedule and weight decay of this stepper."""
        self.objective.load_state_dict(state["objective"])
        own = [
            {name: value for name, value in group.items() if name != "params"} | {"lr": group["initial_lr"]}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, options in zip(self.optimizer.param_groups, own, strict=True):
            group.update(options)
        initialize_momentum(self.optimizer)
        self._plateau.load_state_dict(state["plateau"])
        self.scheduler = self._build_scheduler(steps_done=state["steps_done"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])


def _without_sync(module: nn.Module) -> AbstractContextManager:
    """Context in which gradients are not synchronized between processes."""
    return module.no_sync() if isinstance(module, nn.parallel.DistributedDataParallel) else nullcontext()


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Restore BatchNorm's running statistics after forward passes in training mode."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    buffers = [buffer for norm in norms for buffer in norm.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)


def _bad_result(launched: _Launched, stop: bool) -> StepResult:
    """The result of a skipped step, naming the non-finite losses and the samples of the processes that have them.

    All processes make this call.
    """
    names = [name for name, loss in launched.losses.items() if not loss.isfinite()]
    everywhere = gather_objects((names, launched.ids if names else []))
    all_names = dict.fromkeys(name for names, _ in everywhere for name in names)
    ids = ", ".join(sample for _, ids in everywhere for sample in ids)
    problem = f"{', '.join(all_names)} of {ids}" if all_names else "gradients"
    return StepResult(launched.losses, launched.num_images, problem, stop)
