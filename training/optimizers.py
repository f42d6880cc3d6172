"""Optimizers and their settings."""

from dataclasses import dataclass

import torch
from torch import nn

RMSPROP_ALPHA = 0.9  # as in Yun & Cho's code


@dataclass(frozen=True)
class OptimizationSettings:
    """Settings of the optimizer and of the learning rate.

    Attributes:
        num_steps: optimizer steps of the whole training, for the schedule.
        optimizer: ``adam``, ``adamw``, ``sgd`` or ``rmsprop``.
        learning_rate: before schedule and warm-up.
        momentum: for ``sgd`` and ``rmsprop``.
        weight_decay: decay of the weights.
        decays_all: whether weight decay also applies to biases and normalization layers; it never applies to
            parameters of the balancing method.
        schedule: see `training.schedule.rate_factor`, or ``plateau``: see `training.schedule.Plateau`.
        plateau_factor, plateau_patience: arguments of `Plateau`.
        plateau_floor: lowest learning rate of the schedule ``plateau``.
        milestones: steps at which the schedule ``step`` reduces the rate.
        num_warmup_steps: steps of linear warm-up.
        grad_clip: clip gradients to this norm; 0: off.
        ema_decay: decay of the exponential moving average of the weights; 0: off.
        fp16: scale the loss for half precision.
    """

    num_steps: int
    optimizer: str = "adamw"
    learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    decays_all: bool = False
    schedule: str = "none"
    plateau_factor: float = 0.1
    plateau_patience: int = 10
    plateau_floor: float = 0.0
    milestones: tuple[int, ...] = ()
    num_warmup_steps: int = 0
    grad_clip: float = 0.0
    ema_decay: float = 0.0
    fp16: bool = False


def build_optimizer(network: nn.Module, balancing: nn.Module, settings: OptimizationSettings) -> torch.optim.Optimizer:
    """An optimizer for all parameters of a network and of its balancing method.

    Unless `decays_all` is set, weight decay applies to tensors of two or more dimensions, not to biases and norms.
    ``adamw`` has decoupled weight decay; without decay, it is the Adam of Elite360M's paper.

    Raises:
        ValueError: when there is no such optimizer.
    """
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1 or settings.decays_all]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1 and not settings.decays_all]
    others += balancing.parameters()
    groups = [
        {"params": weights, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    rate, momentum = settings.learning_rate, settings.momentum
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, fused=True)
    if settings.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum, fused=True)
        initialize_momentum(optimizer)
        return optimizer
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, alpha=RMSPROP_ALPHA, momentum=momentum)
    raise ValueError(f"optimizer must be adamw, adam, sgd or rmsprop, got {settings.optimizer!r}")


def initialize_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Set missing momentum buffers of SGD to zero.

    If the first update of a parameter is skipped on the device, torch would leave its buffer uninitialized.
    """
    for group in optimizer.param_groups:
        if isinstance(optimizer, torch.optim.SGD) and group["momentum"]:
            for parameter in group["params"]:
                state = optimizer.state[parameter]
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
