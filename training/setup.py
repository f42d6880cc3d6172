"""Settings of process, device and network that affect speed, memory and rounding errors, but not the function."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from utils.errors import UserError
from utils.malloc import tune_malloc

AMP_TYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}  # by value of --amp
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_REPEATABLE = (":4096:8", ":16:8")  # values of this variable with which cuBLAS gives the same results every time


def seed_generators(seed: int) -> None:
    """Seed all random generators of this process."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries use it


def prepare_device(deterministic: bool = False, tf32: bool = True) -> None:
    """Tune the memory allocator, and set up GPUs for speed or, if requested, for repeatable results.

    Call this before anything is computed on a GPU. For speed, cuDNN tries its algorithms for each shape and keeps the
    fastest, and float32 factors of products are rounded to TF32 (10 bits of mantissa instead of 23). On the CPU,
    results are always repeatable.

    Args:
        deterministic: use repeatable algorithms, and neither of the two.
        tf32: whether factors may be rounded.

    Raises:
        UserError: when an environment variable keeps cuBLAS from being repeatable.
    """
    if deterministic:
        workspace = os.environ.setdefault(_WORKSPACE, _REPEATABLE[0])
        if workspace not in _REPEATABLE:
            raise UserError(
                f"--deterministic: {_WORKSPACE} is {workspace[:40]}, with which results do not repeat: unset it, or "
                f"set it to {' or '.join(_REPEATABLE)}"
            )
    tune_malloc()
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32 and not deterministic
    torch.backends.cudnn.deterministic = deterministic
    torch.use_deterministic_algorithms(deterministic)


@contextmanager
def nondeterminism_reported() -> Iterator[None]:
    """Report operations without a repeatable form on a GPU, which torch rejects with --deterministic.

    Raises:
        UserError: naming the operation.
    """
    try:
        yield
    except RuntimeError as error:
        operation, separator, _ = str(error).partition(" does not have a deterministic implementation")
        if not separator:
            raise
        raise UserError(
            f"--deterministic: {operation[:100]} has no deterministic form on this device: drop the flag, or "
            "choose another backbone"
        ) from error


def precision_of(device: torch.device, amp: str = "off") -> str:
    """The precision of products, in words; with another one, results differ by more than the order of sums explains."""
    if amp == "off" and device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        return "float32, products in TF32"
    return str(AMP_TYPES[amp] or torch.float32).removeprefix("torch.")


def prepare_network(network: nn.Module, channels_last: bool = False, compiled: bool = False) -> None:
    """Set the memory layout and compile, in place: the names of the weights do not change."""
    if channels_last:
        network.to(memory_format=torch.channels_last)
    if compiled:
        network.compile()
