"""Settings of process, device and network that affect speed, memory and rounding errors, but not the function."""

import random

import numpy as np
import torch
from torch import nn

from utils.malloc import tune_malloc

AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # of --amp


def seed_generators(seed: int) -> None:
    """Seed all random generators of this process."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries use it


def prepare_device(deterministic: bool = False) -> None:
    """Tune memory allocation and, if requested, use deterministic GPU algorithms."""
    tune_malloc()
    if deterministic:
        torch.use_deterministic_algorithms(
            True, warn_only=True
        )  # torch warns about operations without a deterministic version
        torch.backends.cudnn.benchmark = False


def prepare_network(network: nn.Module, channels_last: bool = False, compiled: bool = False) -> None:
    """Set the memory layout and compile, in place, so that the names of the weights do not change."""
    if channels_last:
        network.to(memory_format=torch.channels_last)
    if compiled:
        network.compile()
