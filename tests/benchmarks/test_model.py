"""The benchmark runs; what it measures is not judged."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_small_benchmark(tmp_path):
    command = [sys.executable, "-m", "benchmarks.model", "--backbones", "Elite360M_Res18", "--height", "64"]
    parts = ["--rounds", "1", "--parts", "inference", "evaluation", "floor", "bf16", "--out", str(tmp_path)]
    done = subprocess.run([*command, *parts], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "plain / ours" in done.stdout
    assert "ratio to the two" in done.stdout
    assert "three passes" in done.stdout
    assert "float32 / bf16" in done.stdout
    rows = json.loads((tmp_path / "model.json").read_text())
    times = {row["network"]: row["times"] for row in rows if row["measure"] == "inference"}
    assert len(times["plain"]) == 3
    assert all(seconds > 0 for network in ("plain", "ours") for seconds in times[network])


def test_wrong_height(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["model.py", "--height", "100", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as info:
        runpy.run_module("benchmarks.model", run_name="__main__")
    assert info.value.code == 2
    assert "multiple of 64" in capsys.readouterr().err
