"""Shared by all tests."""

import os

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side; also for those that tests start
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fixed_seed():
    """Every test draws the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def small_pieces(monkeypatch):
    """What is computed in pieces is cut into several of them even at the tests' sizes."""
    monkeypatch.setattr("utils.pieces.ENTRIES", 16)
