"""What is exchanged between processes, and the scaling computed from it."""

import sys

import pytest

from benchmarks import scaling


def test_efficiency():
    # 100 MB between two machines: each sends 100 MB, 0.08 s at 10 Gbit/s, of a backward pass of 0.2 s: hidden.
    assert scaling.efficiency(0.3, 100e6, 10, 2) == 1
    # At 1 Gbit/s 0.8 s, of which 0.6 s are waited for.
    assert scaling.efficiency(0.3, 100e6, 1, 2) == pytest.approx(0.3 / 0.9)
    # Eight machines send 1.75 times the gradients each.
    assert scaling.efficiency(0.3, 100e6, 1, 8) == pytest.approx(0.3 / (0.1 + 1.4))


@pytest.mark.slow  # processes that import torch
def test_processes_send_their_gradients_and_little_else(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["scaling.py", "--processes", "2", "--steps", "3"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    scaling.main()
    lines = capfd.readouterr().out.splitlines()
    [row] = [line.split() for line in lines if line.split()[:1] == ["2"]]
    assert float(row[1]) > 70, "MB of gradients"
    assert 0.99 < float(row[-1]) < 1.5, "of a ring all-reduce; other programs may use loopback too"
