"""Measurements in separate processes; tests/benchmarks/test_achievement.py has one that succeeds."""

import pytest

from benchmarks import processes
from utils.errors import UserError


def test_a_process_that_fails(monkeypatch):
    monkeypatch.setattr(processes, "WORKERS", ("-c", "import os; os.abort()"))
    with pytest.raises(UserError, match=r"'measure': 'machine'.* exit code -6"):
        processes.measure_in_process({"measure": "machine"})
