"""How the learning rate changes over a training."""

import math
from collections.abc import Callable

import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

POLY_POWER = 0.9  # as DeepLab's (Chen et al., TPAMI 2018)
_WARMUP_START = 1e-3  # of the rate


def build_scheduler(
    optimizer: Optimizer,
    name: str,
    num_steps: int,
    num_warmup_steps: int = 0,
    steps_done: int = 0,
    further_factor: Callable[[], float] = lambda: 1.0,
) -> LambdaLR:
    """A scheduler to be stepped after every optimizer step, `num_steps` times in all.

    The rate depends on the number of the step alone, so that a training may be resumed at any step, also with another
    rate, schedule or length.

    Args:
        optimizer: whose groups have the full rate.
        name: see `rate_factor`.
        num_steps, num_warmup_steps: see `rate_factor`.
        steps_done: optimizer steps before the next one.
        further_factor: asked at every step for what else the rate is multiplied by.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]

    def factor(step: int) -> float:
        return rate_factor(step, name, num_steps, num_warmup_steps) * further_factor()

    return LambdaLR(optimizer, factor, last_epoch=steps_done - 1)  # it takes one step when it is made


def rate_factor(step: int, name: str, num_steps: int, num_warmup_steps: int = 0) -> float:
    """What the learning rate is multiplied by in a step.

    Args:
        step: counted from 0.
        name: ``none`` and ``plateau`` are 1; ``cosine`` falls to 0 along half a cosine (Loshchilov and Hutter, ICLR
            2017); ``poly`` is (1 - progress)^0.9.
        num_steps: of the whole training.
        num_warmup_steps: steps at the beginning in which the factor grows linearly from a thousandth to 1; the schedule
            has the others.
    """
    if step < num_warmup_steps:
        return _WARMUP_START + (1 - _WARMUP_START) * step / num_warmup_steps
    progress = min(1.0, (step - num_warmup_steps) / max(1, num_steps - num_warmup_steps))
    if name == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if name == "poly":
        return (1 - progress) ** POLY_POWER
    return 1.0


class Plateau:
    """A factor that falls when validation scores stop growing: torch's `ReduceLROnPlateau` of a rate of 1.

    Args:
        factor: by which it falls each time.
        patience: validations without a better score before it does.
    """

    def __init__(self, factor: float, patience: int):
        self._rate = SGD([torch.zeros(())], lr=1.0)
        self._scheduler = ReduceLROnPlateau(self._rate, mode="max", factor=factor, patience=patience)

    @property
    def factor(self) -> float:
        """What the learning rate is multiplied by."""
        return self._rate.param_groups[0]["lr"]

    def validated(self, score: float) -> None:
        """Take a score into account; higher is better."""
        self._scheduler.step(score)

    def state_dict(self) -> dict:
        return {"factor": self.factor, "best": self._scheduler.best, "bad": self._scheduler.num_bad_epochs}

    def load_state_dict(self, state: dict) -> None:
        self._rate.param_groups[0]["lr"] = state["factor"]
        self._scheduler.best, self._scheduler.num_bad_epochs = state["best"], state["bad"]
