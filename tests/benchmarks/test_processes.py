"""Failing measurements in a separate process; tests/benchmarks/test_achievement.py has a successful one."""

import pytest

from benchmarks import processes
from utils.errors import UserError


def test_failing_process(monkeypatch):
    monkeypatch.setattr(processes, "WORKERS", ("-c", "import os; os.abort()"))
    with pytest.raises(UserError, match=r"'measure': 'machine'.* exit code -6"):
        processes.measure_in_process({"measure": "machine"})
