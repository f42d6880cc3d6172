"""Shared by all tests."""

import os
import signal

import pytest
import torch

from utils.cpu_kernels import without_cpu_kernels

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in what runs beside them

if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side; also for those that tests start
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all tests but those of `-m gpu`, and from the processes that they start.

    CUDA reads the variable when it is first used, which importing torch is not.
    """
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch):
    """Files of tests need not survive a loss of power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _fixed_seed():
    """Every test draws the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def small_chunks(monkeypatch):
    """What is computed in chunks is cut into several of them even at the tests' sizes."""
    monkeypatch.setattr("utils.chunks.CHUNK_ELEMENTS", 16)


@pytest.fixture(params=["cpu_kernels", "plain"])
def cpu_kernels(request):
    """Runs a test twice: with the forms made for CPUs, and as on a GPU, with torch's plain ones."""
    if request.param == "cpu_kernels":
        yield True
    else:
        with without_cpu_kernels():
            yield False
