"""The benchmark of the network runs; times are not checked."""

import itertools
import json
import runpy
import sys
from functools import partial

import pytest

from benchmarks import model, workers
from utils.errors import UserError


@pytest.fixture
def small_measurements(monkeypatch):
    """Small measurements in this process, as importing torch is slow; their results still go through JSON."""

    def measure(job: dict) -> dict:
        arguments = {key: value for key, value in job.items() if key != "measure"}
        return json.loads(json.dumps(workers.MEASURES[job["measure"]](**arguments)))

    def run_module(arguments: list[str]) -> float:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", arguments[1:])
            runpy.run_module(arguments[1], run_name="__main__")
        return 1.0

    monkeypatch.setattr(model, "measure_in_process", measure)
    monkeypatch.setattr(model, "wall_clock", run_module)
    monkeypatch.setattr(model, "EFFORT", {key: {"warm_ups": 1, "calls": 1} for key in model.EFFORT})
    monkeypatch.setattr(model, "NUM_EVALUATED", 2)
    small = {name: partial(network, ico_level=2) for name, network in workers.NETWORKS.items()}
    monkeypatch.setattr(workers, "NETWORKS", small)
    monkeypatch.setattr(workers, "machine_rate", lambda: 1e9)
    monkeypatch.setattr(workers, "peak_memory", itertools.count(10**9, 10**6).__next__)  # grows once per process


@pytest.mark.slow
def test_small_run(small_measurements, tmp_path, monkeypatch, capsys):
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
