"""One optimizer step, with gradient accumulation, mixed precision, balancing and weight averaging."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from training.objective import TrainingObjective
from training.optimizers import OptimizationSettings, build_optimizer
from training.schedule import Plateau, build_scheduler
from training.setup import nondeterminism_reported
from training.task_gradients import TaskGradients
from utils.distributed import all_max, gather_objects


@dataclass(frozen=True)
class StepResult:
    """Result of one optimizer step.

    Attributes:
        losses: scalars by name, of the global batch, see `losses.reduction.TaskLoss`.
        num_images: number of images of this process.
        problem: which losses of which samples were non-finite, so that the step was skipped; empty if none.
        stop: whether any process requests to stop.
        overflowed: whether fp16 gradients overflowed, so that only the loss scale was updated.
        without_pixels: tasks with no pixel that counts in the loss, in the batches of all processes.
    """

    losses: dict[str, torch.Tensor]
    num_images: int
    problem: str
    stop: bool
    overflowed: bool = False
    without_pixels: frozenset[str] = frozenset()


class MovingAverage(AveragedModel):
    """Exponential moving average of weights and statistics; integer buffers are copied.

    torch's update copies the number of steps to the GPU every time, for which the host would wait.
    """

    def __init__(self, network: nn.Module, decay: float):
        super().__init__(network, use_buffers=True)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Add the weights and buffers of `model`; those of the first call replace all."""
        averaged, copied = ([], []), ([], [])
        is_first = int(self.n_averaged) == 0  # on the CPU
        own, new = ([*module.parameters(), *module.buffers()] for module in (self.module, model))
        for pair in zip(own, new, strict=True):
            lists = averaged if pair[0].is_floating_point() and not is_first else copied
            for tensors, tensor in zip(lists, pair, strict=True):
                tensors.append(tensor)
        if averaged[0]:
            torch._foreach_lerp_(*averaged, 1 - self._decay)
        if copied[0]:
            torch._foreach_copy_(*copied)
        self.n_averaged += 1


class Stepper:
    """Takes optimizer steps.

    Args:
        objective: the network and its losses.
        parallel_objective: the same, wrapped for distributed training.
        settings: of the optimization.
        device: of the weights.
    """

    def __init__(
        self,
        objective: TrainingObjective,
        parallel_objective: nn.Module,
        settings: OptimizationSettings,
        device: torch.device,
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
        self._buffers = [buffer for buffer in objective.buffers() if buffer.is_floating_point()]
        self._buffers_before = [torch.empty_like(buffer) for buffer in self._buffers]

    @property
    def network(self) -> nn.Module:
        """The network to evaluate and to save: the moving average of the weights if there is one."""
        return self.objective.network if self.ema is None else self.ema.module

    def step(self, batches: list[dict], wants_to_stop: bool = False) -> StepResult:
        """One update from the global batch: `batches` and those of the other processes.

        When a loss or gradient is non-finite in any process, no process updates its weights.
        """
        torch._foreach_copy_(self._buffers_before, self._buffers)
        with nondeterminism_reported():
            losses, finite = self._backward(batches)
        # One exchange for all questions. Apart from some balancing methods, nothing else in a step waits for the GPU.
        questions = [~finite, torch.full_like(finite, wants_to_stop), *~self.objective.has_pixels]
        is_bad, stop, *without_pixels = all_max(torch.stack(questions).int()).tolist()
        num_images = sum(len(batch["rgb"]) for batch in batches)
        if is_bad:
            torch._foreach_copy_(self._buffers, self._buffers_before)  # running statistics may be non-finite, too
            self.optimizer.zero_grad()
            return StepResult(losses, num_images, _describe(losses, batches), bool(stop))
        tasks = self.objective.network.tasks
        without_pixels = frozenset(task for task, nothing in zip(tasks, without_pixels, strict=True) if nothing)
        self._skip_update(without_pixels)
        if self._grad_clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.objective.parameters(), self._grad_clip)
        self.scaler.step(self.optimizer)
        overflowed = self._update_scale()
        self.optimizer.zero_grad()
        if overflowed:
            # The initial scale is too large and decreases in a few steps; below 1 the scale is not the cause.
            problem = "gradients in half precision" if self.scaler.get_scale() < 1 else ""
            return StepResult(losses, num_images, problem, bool(stop), overflowed=True)
        self.scheduler.step()
        self.objective.balancing.end_step()
        if self.ema:
            self.ema.update_parameters(self.objective.network)
        return StepResult(losses, num_images, "", bool(stop), without_pixels=without_pixels)

    def validated(self, score: float) -> None:
        """Called after each validation with a score, higher being better, on which the schedule may depend."""
        if self._reads_scores:
            self._plateau.validated(score)

    def _update_scale(self) -> bool:
        """Update the loss scale of fp16. Returns: whether gradients overflowed and the step was skipped."""
        before = self.scaler.get_scale()
        self.scaler.update()
        return self.scaler.get_scale() < before

    def _skip_update(self, tasks: Iterable[str]) -> None:
        """Keep momentum from updating the parameters of tasks without labels."""
        for task in tasks:
            for parameter in self.objective.network.own_parameters(task):
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
        """Norm of the gradient of each task's unweighted loss at the last shared layer, of this process."""
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
        """Everything that the next step depends on, except the options."""
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
            {"lr": group["initial_lr"], "weight_decay": group["weight_decay"]} for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, options in zip(self.optimizer.param_groups, own, strict=True):
            group.update(options)
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


def _describe(losses: dict[str, torch.Tensor], batches: list[dict]) -> str:
    """Which losses are non-finite, and the samples of those processes."""
    names = [name for name, loss in losses.items() if not loss.isfinite()]
    ids = [sample for batch in batches for sample in batch["id"]] if names else []
    everywhere = gather_objects((names, ids))
    all_names = dict.fromkeys(name for names, _ in everywhere for name in names)
    if not all_names:
        return "gradients"
    return f"{', '.join(all_names)} of {', '.join(sample for _, ids in everywhere for sample in ids)}"
