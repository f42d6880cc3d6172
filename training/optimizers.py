"""Optimizers and their settings."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class OptimizationSettings:
    """Settings of the optimizer and of the learning rate.

    Attributes:
        num_steps: optimizer steps of the whole training, for the schedule.
        optimizer: ``adam``, ``adamw``, ``sgd`` or ``rmsprop``.
        learning_rate: before schedule and warm-up.
        momentum: of ``sgd`` and ``rmsprop``.
        weight_decay: of weights; biases and normalization layers have none.
        schedule: see `training.schedule.rate_factor`, or ``plateau``: see `training.schedule.Plateau`.
        plateau_factor, plateau_patience: of `Plateau`.
        num_warmup_steps: steps of linear warm-up.
        grad_clip: clip gradients to this norm; 0: off.
        ema_decay: of the exponential moving average of the weights; 0: off.
        fp16: scale the loss for half precision.
    """

    num_steps: int
    optimizer: str = "adamw"
    learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "none"
    plateau_factor: float = 0.1
    plateau_patience: int = 10
    num_warmup_steps: int = 0
    grad_clip: float = 0.0
    ema_decay: float = 0.0
    fp16: bool = False


def build_optimizer(module: nn.Module, settings: OptimizationSettings) -> torch.optim.Optimizer:
    """An optimizer for all parameters of a module.

    Weight decay applies to tensors of two or more dimensions, not to biases, norms and log-variances. ``adamw`` has
    decoupled weight decay; without decay it is the paper's Adam.

    Raises:
        ValueError: when there is no such optimizer.
    """
    weights = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
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
        return torch.optim.SGD(groups, lr=rate, momentum=momentum)
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, momentum=momentum)
    raise ValueError(f"optimizer must be adamw, adam, sgd or rmsprop, got {settings.optimizer!r}")
