"""Only `use_cpu_kernels` decides where operations optimized for CPUs are used."""

import re
from pathlib import Path

import torch

from utils.cpu_kernels import use_cpu_kernels, without_cpu_kernels

ROOT = Path(__file__).parents[2]
ALLOWED = {"utils/cpu_kernels.py", "utils/distributed.py"}  # the latter chooses a backend and SyncBatchNorm
DEVICE_COMPARISON = re.compile(r"\.type\s*(==|!=|in\b|not in\b)|\.is_(cpu|cuda)\b|[\"'](cpu|cuda)[\"']\s*(==|!=|in\b)")


def test_use_cpu_kernels():
    cpu, other = torch.zeros(1), torch.zeros(1, device="meta")
    assert use_cpu_kernels(cpu)
    assert not use_cpu_kernels(other)
    with without_cpu_kernels():
        assert not use_cpu_kernels(cpu)
        with without_cpu_kernels():
            pass
        assert not use_cpu_kernels(cpu)
    assert use_cpu_kernels(cpu)


def test_only_allowed_files_compare_device_types():
    assert DEVICE_COMPARISON.search("if x.device.type != 'cpu':")
    assert DEVICE_COMPARISON.search("if 'cpu' == kind or x.is_cuda:")
    files = [path for folder in ("networks", "losses", "utils") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 40
    found = {path.relative_to(ROOT).as_posix() for path in files if DEVICE_COMPARISON.search(path.read_text())}
    assert found == ALLOWED
