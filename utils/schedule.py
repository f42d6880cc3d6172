"""How the learning rate changes over a training."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, PolynomialLR

POLY_POWER = 0.9  # as DeepLab's (Chen et al., TPAMI 2018)


def build_scheduler(optimizer: Optimizer, name: str, num_steps: int) -> LRScheduler:
    """A scheduler to be stepped after every optimiser step, `num_steps` times in all.

    Args:
        name: ``none`` keeps the rate; ``cosine`` takes it to zero along half a cosine (Loshchilov and Hutter, ICLR
            2017); ``poly`` multiplies it by (1 - step / num_steps)^0.9.
    """
    if name == "cosine":
        return CosineAnnealingLR(optimizer, T_max=num_steps)
    if name == "poly":
        return PolynomialLR(optimizer, total_iters=num_steps, power=POLY_POWER)
    return ConstantLR(optimizer, factor=1.0)
