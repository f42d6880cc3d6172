"""Traffic between processes, and the scaling computed from it."""

import sys
from functools import partial

import pytest

from benchmarks import scaling
from tests import processes  # noqa: F401 (preloads the programs into the fork server)


def test_efficiency():
    # 100 MB between two machines: each sends 100 MB in 0.08 s at 10 Gbit/s, hidden by a backward pass of 0.2 s.
    assert scaling.efficiency(0.3, 100e6, 10, 2) == 1
    # 0.8 s at 1 Gbit/s, of which 0.6 s are not hidden.
    assert scaling.efficiency(0.3, 100e6, 1, 2) == pytest.approx(0.3 / 0.9)
    # Each of eight machines sends 1.75 times the gradients.
    assert scaling.efficiency(0.3, 100e6, 1, 8) == pytest.approx(0.3 / (0.1 + 1.4))


@pytest.mark.slow
def test_traffic_is_that_of_gradients(monkeypatch, capfd):
    monkeypatch.setattr(scaling, "LaunchConfig", partial(scaling.LaunchConfig, start_method="forkserver"))
    small = ["--backbone", "timm:test_efficientnet", "--processes", "2", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", ["scaling.py", *small])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    scaling.main()
    lines = capfd.readouterr().out.splitlines()
    [row] = [line.split() for line in lines if line.split()[:1] == ["2"]]
    assert float(row[1]) > 20, "MB of gradients"
    assert 0.99 < float(row[-1]) < 1.5, "relative to a ring all-reduce; other programs may use loopback too"
