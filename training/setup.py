"""Settings of the process, the device and the network that change speed, memory and last digits, not the function."""

import argparse
import random

import numpy as np
import torch
from torch import nn

from training.optimizers import OptimizationSettings
from utils.malloc import tune_malloc

AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # of --amp


def seed_generators(seed: int) -> None:
    """Start all random generators of this process."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - that of libraries


def prepare_device(options: argparse.Namespace) -> None:
    """Keep freed memory, and make the GPU's algorithms repeatable if asked for; those of the CPU always are."""
    tune_malloc()
    if options.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)  # some have no such form: torch names them
        torch.backends.cudnn.benchmark = False


def prepare_network(network: nn.Module, options: argparse.Namespace) -> None:
    """Lay out and compile the network as asked for, in place: the names of its weights stay."""
    if options.channels_last:
        network.to(memory_format=torch.channels_last)
    if options.compile:
        network.compile()


def optimization_settings(options: argparse.Namespace, steps_per_epoch: int) -> OptimizationSettings:
    """What the options say about the optimization."""
    return OptimizationSettings(
        num_steps=options.num_epochs * steps_per_epoch,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        schedule=options.lr_schedule,
        num_warmup_steps=options.warmup_epochs * steps_per_epoch,
        grad_clip=options.grad_clip,
        ema_decay=options.ema_decay,
        fp16=options.amp == "fp16",
    )
