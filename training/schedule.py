"""Learning rate schedules."""

import math
from collections.abc import Callable

import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

POLY_POWER = 0.9  # as in DeepLab (Chen et al., TPAMI 2018)
STEP_FACTOR = 0.1
_WARMUP_START = 1e-3  # fraction of the full rate


def build_scheduler(
    optimizer: Optimizer,
    name: str,
    num_steps: int,
    num_warmup_steps: int = 0,
    steps_done: int = 0,
    further_factor: Callable[[], float] = lambda: 1.0,
    milestones: tuple[int, ...] = (),
) -> LambdaLR:
    """A scheduler to be stepped after every optimizer step, `num_steps` times in all.

    The rate depends only on the step number, so a training can be resumed at any step, even with another rate, schedule
    or length.

    Args:
        optimizer: its parameter groups have the full rate.
        name, num_steps, num_warmup_steps, milestones: see `rate_factor`.
        steps_done: optimizer steps so far.
        further_factor: called at every step; returns another factor of the rate.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]

    def factor(step: int) -> float:
        return rate_factor(step, name, num_steps, num_warmup_steps, milestones) * further_factor()

    return LambdaLR(optimizer, factor, last_epoch=steps_done - 1)  # the constructor takes one step


def rate_factor(
    step: int, name: str, num_steps: int, num_warmup_steps: int = 0, milestones: tuple[int, ...] = ()
) -> float:
    """The factor by which the learning rate is multiplied in a step.

    Args:
        step: counted from 0.
        name: ``none`` and ``plateau`` are 1; ``cosine`` falls to 0 along half a cosine (Loshchilov and Hutter, ICLR
            2017); ``poly`` is (1 - progress)^0.9; ``step`` drops to a tenth at each milestone.
        num_steps: steps of the whole training.
        num_warmup_steps: steps at the beginning in which the factor grows linearly from 0.001 to 1; the schedule covers
            the remaining steps.
        milestones: step numbers, counted from the beginning of the training.
    """
    if step < num_warmup_steps:
        return _WARMUP_START + (1 - _WARMUP_START) * step / num_warmup_steps
    progress = min(1.0, (step - num_warmup_steps) / max(1, num_steps - num_warmup_steps))
    if name == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if name == "poly":
        return (1 - progress) ** POLY_POWER
    if name == "step":
        return STEP_FACTOR ** sum(step >= milestone for milestone in milestones)
    return 1.0


class Plateau:
    """A factor that decreases when validation scores stop improving: torch's `ReduceLROnPlateau` with a rate of 1.

    Args:
        factor: multiplier at each reduction.
        patience: validations without a better score before a reduction.
        lowest: the smallest factor.
    """

    def __init__(self, factor: float, patience: int, lowest: float = 0.0):
        self._rate = SGD([torch.zeros(())], lr=1.0)
        self._scheduler = ReduceLROnPlateau(self._rate, mode="max", factor=factor, patience=patience, min_lr=lowest)

    @property
    def factor(self) -> float:
        """The current factor of the learning rate."""
        return self._rate.param_groups[0]["lr"]

    def validated(self, score: float) -> None:
        """Add the score of a validation; higher is better."""
        self._scheduler.step(score)

    def state_dict(self) -> dict:
        return {"factor": self.factor, "best": self._scheduler.best, "bad": self._scheduler.num_bad_epochs}

    def load_state_dict(self, state: dict) -> None:
        self._rate.param_groups[0]["lr"] = state["factor"]
        self._scheduler.best, self._scheduler.num_bad_epochs = state["best"], state["bad"]
