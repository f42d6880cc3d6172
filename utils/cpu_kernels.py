"""Switches operations optimized for CPUs on or off. The only file that branches on the device type of a tensor."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_enabled = True


def use_cpu_kernels(x: torch.Tensor) -> bool:
    """Whether to use operations optimized for CPUs on `x`, instead of torch's own."""
    return _enabled and x.device.type == "cpu"


@contextmanager
def without_cpu_kernels() -> Iterator[None]:
    """Use the GPU code path in a block, so that tests on a CPU cover it. Affects the whole process."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before
