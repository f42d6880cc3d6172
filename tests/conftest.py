"""Fixtures and settings of all tests."""

import os
import signal

import pytest
import torch

from utils.cpu_kernels import without_cpu_kernels

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of shells ignore it

if "PYTEST_XDIST_WORKER" in os.environ:  # parallel workers, and processes that tests start
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all tests except those of `-m gpu`, and from processes that tests start.

    It is early enough: CUDA reads the variable at its first use, not when torch is imported.
    """
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch):
    """The files of tests need not survive a loss of power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _fixed_seed():
    """Random numbers do not depend on the tests that ran before."""
    torch.manual_seed(0)


@pytest.fixture
def small_chunks(monkeypatch):
    """Split chunked computations into several chunks even at the sizes of tests."""
    monkeypatch.setattr("utils.chunks.CHUNK_ELEMENTS", 16)


@pytest.fixture(params=["cpu_kernels", "plain"])
def cpu_kernels(request):
    """Run a test twice: with the CPU kernels, and with torch's plain operations, as on a GPU."""
    if request.param == "cpu_kernels":
        yield True
    else:
        with without_cpu_kernels():
            yield False
