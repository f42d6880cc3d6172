"""Settings of the process, the device and the network that change speed, memory and last digits, not the function."""

import random

import numpy as np
import torch
from torch import nn

from utils.malloc import tune_malloc

AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # of --amp


def seed_generators(seed: int) -> None:
    """Start all random generators of this process."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - that of libraries


def prepare_device(deterministic: bool = False) -> None:
    """Keep freed memory, and make the GPU's algorithms repeatable if asked for; those of the CPU always are."""
    tune_malloc()
    if deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)  # some have no such form: torch names them
        torch.backends.cudnn.benchmark = False


def prepare_network(network: nn.Module, channels_last: bool = False, compiled: bool = False) -> None:
    """Lay out and compile the network as asked for, in place: the names of its weights stay."""
    if channels_last:
        network.to(memory_format=torch.channels_last)
    if compiled:
        network.compile()
