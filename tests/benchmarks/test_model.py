"""The benchmark runs; the times are not checked."""

import itertools
import json
import sys

import pytest

from benchmarks import model, workers
from utils.errors import UserError


@pytest.fixture
def in_this_process(monkeypatch):
    """Measurements without a process for each, which would import torch first; their results still go through JSON."""

    def measure(self: model.Benchmark, measure: str, **arguments) -> dict:
        results = json.loads(json.dumps(workers.MEASURES[measure](**arguments)))
        self.measurements.append({"measure": measure, **arguments, **results})
        return results

    monkeypatch.setattr(model.Benchmark, "_measure", measure)
    monkeypatch.setattr(model, "EFFORT", {key: {"warm_ups": 1, "calls": 1} for key in model.EFFORT})
    monkeypatch.setattr(model, "NUM_EVALUATED", 2)
    monkeypatch.setattr(workers, "machine_rate", lambda: 1e9)
    monkeypatch.setattr(workers, "peak_memory", itertools.count(10**9, 10**6).__next__)  # it grows once per process


@pytest.mark.slow
def test_small_benchmark(in_this_process, tmp_path, monkeypatch, capsys):
    parts = ["inference", "evaluation", "floor", "bf16"]
    arguments = ["--backbones", "Elite360M_Res18", "--height", "64", "--rounds", "1", "--parts", *parts]
    monkeypatch.setattr(sys, "argv", ["model.py", *arguments, "--out", str(tmp_path)])
    model.main()
    output = capsys.readouterr().out
    assert "plain / ours" in output
    assert "total / (reading + predicting)" in output
    assert "three passes" in output
    assert "float32 / bf16" in output
    rows = json.loads((tmp_path / "model.json").read_text())
    times = {row["network"]: row["times"] for row in rows if row["measure"] == "inference"}
    assert set(times) == {"plain", "ours"}
    assert all(seconds > 0 for network in ("plain", "ours") for seconds in times[network])


def test_wrong_height(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["model.py", "--height", "100", "--out", str(tmp_path)])
    with pytest.raises(UserError, match="--height"):
        model.main()
