"""Shared by all tests."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _fixed_seed():
    """Every test draws the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def small_pieces(monkeypatch):
    """What is computed in pieces is cut into several of them even at the tests' sizes."""
    monkeypatch.setattr("utils.pieces.ENTRIES", 16)
