"""The training loop."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

from training.log import TrainingLog
from training.state import Progress
from training.step import Stepper, StepResult
from training.stop import StopRequest
from utils.distributed import barrier

T = TypeVar("T")


class EpochBatches(Protocol):
    """Batches of successive epochs."""

    def __iter__(self) -> Iterator[dict]: ...

    def __len__(self) -> int: ...

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None: ...


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the training loop.

    Attributes:
        num_epochs: passes over the batches.
        grad_accum: batches per optimizer step.
        save_steps: optimizer steps between saved states.
        max_bad_steps: abort after this many consecutive steps with non-finite losses.
        log_grad_norms: whether to log each task's gradient norm.
    """

    num_epochs: int
    grad_accum: int = 1
    save_steps: int = 1000
    max_bad_steps: int = 10
    log_grad_norms: bool = False

    def steps_per_epoch(self, num_batches: int) -> int:
        """Number of optimizer steps; the last one may have fewer batches."""
        return -(-num_batches // self.grad_accum)


def fit(
    stepper: Stepper,
    batches: EpochBatches,
    log: TrainingLog,
    progress: Progress,
    settings: LoopSettings,
    stop: StopRequest,
    save: Callable[[], None],
    end_epoch: Callable[[], None],
) -> str:
    """Train until the last epoch, a request to stop, or too many steps with non-finite losses.

    Args:
        stepper: takes the optimizer steps.
        batches: training batches.
        log: training log.
        progress: where to start; updated after every step.
        settings: see `LoopSettings`.
        stop: checked at every step.
        save: saves the state of the run.
        end_epoch: called after each epoch, to validate and to save models.

    Returns:
        ``"finished"``, ``"stopped"`` or ``"diverged"``.
    """
    steps_per_epoch = settings.steps_per_epoch(len(batches))
    count = partial(_count, log=log, progress=progress)
    while progress.epoch <= settings.num_epochs:
        batches.set_epoch(progress.epoch, first_batch=progress.step * settings.grad_accum)
        stepper.objective.train()
        groups = log.watch(batched(batches, settings.grad_accum), progress.epoch, progress.step, steps_per_epoch)
        for number, group in enumerate(groups, start=progress.step + 1):
            steps_ahead = number - progress.step  # 1, or 2 while the result of the previous step is late
            is_written, is_saved = log.writes(steps_ahead), number % settings.save_steps == 0
            stops = False
            if settings.log_grad_norms and is_written:
                stops = count(stepper.settle())
                log.grad_norms(stepper.grad_norms(group[0]))
            stops |= count(stepper.step(group, wants_to_stop=stop.reason() is not None))
            # Results may come a step late, but everything below needs the result of this step.
            may_diverge = progress.bad_steps + 1 >= settings.max_bad_steps
            if is_written or is_saved or stops or may_diverge or number == steps_per_epoch:
                stops |= count(stepper.settle())
            diverged = progress.bad_steps >= settings.max_bad_steps
            if diverged or stops or is_saved:
                save()
            if diverged or stops:
                return "diverged" if diverged else "stopped"
        save()  # so that a run that is killed during validation need not repeat the last steps
        end_epoch()
        progress.epoch, progress.step = progress.epoch + 1, 0
        save()
        barrier()  # no process continues before the files are written
    return "finished"


def _count(result: StepResult | None, log: TrainingLog, progress: Progress) -> bool:
    """Log and count the step of a result, if there is one; return whether to stop after it."""
    if result is None:
        return False
    log.step(result)
    progress.step += 1
    progress.bad_steps = progress.bad_steps + 1 if result.problem else 0
    return result.stop


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items each; the last may be shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
