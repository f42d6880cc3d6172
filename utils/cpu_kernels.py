"""Where operations take the form that is fast on CPUs: the only file that asks which kind of device a tensor is on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_enabled = True


def use_cpu_kernels(x: torch.Tensor) -> bool:
    """Whether to compute with `x` in a form made for CPUs, instead of torch's plain one."""
    return _enabled and x.device.type == "cpu"


@contextmanager
def without_cpu_kernels() -> Iterator[None]:
    """Compute inside as on a GPU, so that tests on a CPU cover that path. Affects the whole process."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before
