"""The benchmark of reading datasets runs and prints a line per dataset."""

import sys

import pytest

from benchmarks import data


@pytest.mark.slow
def test_small_run(monkeypatch, capsys):
    monkeypatch.setattr(data, "REPEATS", 1)
    monkeypatch.setattr(data, "READS", 2)
    monkeypatch.setattr(sys, "argv", ["data.py", "--height", "32", "--batch_size", "1"])
    data.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(data.LAYOUTS)
    assert all(line.count("(") == 4 for line in lines[2:])
