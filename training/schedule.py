"""How the learning rate changes over a training."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, PolynomialLR, SequentialLR

POLY_POWER = 0.9  # as DeepLab's (Chen et al., TPAMI 2018)
_WARMUP_START = 1e-3  # of the rate


def build_scheduler(optimizer: Optimizer, name: str, num_steps: int, num_warmup_steps: int = 0) -> LRScheduler:
    """A scheduler to be stepped after every optimiser step, `num_steps` times in all.

    Args:
        name: ``none`` keeps the rate; ``cosine`` takes it to zero along half a cosine (Loshchilov and Hutter, ICLR
            2017); ``poly`` multiplies it by (1 - step / num_steps)^0.9.
        num_warmup_steps: steps at the beginning in which the rate grows linearly from almost nothing; the schedule has
            the others.
    """
    remaining = max(1, num_steps - num_warmup_steps)
    schedule = _schedule(optimizer, name, remaining)
    if not num_warmup_steps:
        return schedule
    warmup = LinearLR(optimizer, start_factor=_WARMUP_START, total_iters=num_warmup_steps)
    return SequentialLR(optimizer, [warmup, schedule], milestones=[num_warmup_steps])


def _schedule(optimizer: Optimizer, name: str, num_steps: int) -> LRScheduler:
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=num_steps)
    if name == "poly":
        return PolynomialLR(optimizer, total_iters=num_steps, power=POLY_POWER)
    return ConstantLR(optimizer, factor=1.0)
