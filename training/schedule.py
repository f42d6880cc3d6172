"""How the learning rate changes over a training."""

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

POLY_POWER = 0.9  # as DeepLab's (Chen et al., TPAMI 2018)
_WARMUP_START = 1e-3  # of the rate


def build_scheduler(
    optimizer: Optimizer, name: str, num_steps: int, num_warmup_steps: int = 0, steps_done: int = 0
) -> LambdaLR:
    """A scheduler to be stepped after every optimizer step, `num_steps` times in all.

    The rate depends on the number of the step alone, so that a training may be resumed at any step, also with another
    rate, schedule or length.

    Args:
        optimizer: whose groups have the full rate.
        name: see `rate_factor`.
        num_steps, num_warmup_steps: see `rate_factor`.
        steps_done: optimizer steps before the next one.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    factor = partial(rate_factor, name=name, num_steps=num_steps, num_warmup_steps=num_warmup_steps)
    return LambdaLR(optimizer, factor, last_epoch=steps_done - 1)  # it takes one step when it is made


def rate_factor(step: int, name: str, num_steps: int, num_warmup_steps: int = 0) -> float:
    """What the learning rate is multiplied by in a step.

    Args:
        step: counted from 0.
        name: ``none`` is 1; ``cosine`` falls to 0 along half a cosine (Loshchilov and Hutter, ICLR 2017); ``poly`` is
            (1 - progress)^0.9.
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
