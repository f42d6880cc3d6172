"""The benchmark of the second program's training steps: its tables against values computed by hand, and a small run."""

import json
import sys

import pytest

from benchmarks import achievement, workers


def row(parameters: float, multiply_adds: float, seconds: list[float]) -> dict:
    measured = {"parameters": parameters, "multiply_adds": multiply_adds, "peak_bytes": 2e9}
    return {**measured, "times": seconds, "cpu_times": [2 * value for value in seconds]}


ROWS = {
    "segmentation": row(10e6, 4e9, [1.0, 5.0, 2.0]),
    "depth": row(10e6, 2e9, [2.0]),
    "normal": row(20e6, 4e9, [4.0]),
    "seg+depth": row(11e6, 3e9, [3.0]),
    "seg+depth+normal": row(12e6, 5e9, [4.0]),
}


def test_table():
    lines = achievement.table(ROWS, batch_size=8).splitlines()
    assert lines[2] == "| segmentation | 10.00 M | 4.0 G | 2.00 s | 4.00 s | 4.00 | 2.00 GB |"
    assert len(lines) == 2 + len(ROWS)
    assert len({line.count("|") for line in lines}) == 1


def test_ratios():
    """11 / (10 + 10), 3 / (4 + 2), 3 / (2 + 2); 12 / 40, 5 / 10, 4 / 8."""
    two, three = achievement.ratio_table(ROWS).splitlines()[2:]
    assert two == "| seg+depth / segmentation + depth | 0.550 | 0.500 | 0.750 | 0.750 |"
    assert three == "| seg+depth+normal / segmentation + depth + normal | 0.300 | 0.500 | 0.500 | 0.500 |"


@pytest.mark.slow
def test_size_of_vmm():
    """Against the released network, with 21 classes at 640x640; the paper's ratio is 0.3373."""
    sizes = {tasks: workers.vmm_size(names, 640, 640) for tasks, names in achievement.VMM_TASKS.items()}
    assert sizes["seg+det+depth"]["parameters"] == 20_089_132
    assert sizes["depth"]["multiply_adds"] == pytest.approx(46.975e9 / 2, rel=2e-3)  # includes resizing
    table, ratios = achievement.size_table(sizes), achievement.ratio_table(sizes)
    assert "| seg+det+depth | 20.09 M | 23.87 G |" in table
    assert ratios.splitlines()[2] == "| seg+det+depth / segmentation + detection + depth | 0.335 | 0.339 |"


@pytest.mark.slow  # a process that imports torch
def test_small_run(tmp_path, monkeypatch, capsys):
    network = "DeepLabV3Plus_MobileNetV2"
    in_process = achievement.measure_in_process
    monkeypatch.setattr(  # only the step needs a process
        achievement,
        "measure_in_process",
        lambda job: workers.machine() if job["measure"] == "machine" else in_process(job),
    )
    small = ["--size", "32", "32", "--batch_size", "2", "--steps", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["achievement.py", "--networks", network, *small])
    monkeypatch.setattr(achievement, "CFG_FOLDERS", {"seg+depth+normal": achievement.CFG_FOLDERS["seg+depth+normal"]})
    monkeypatch.setattr(achievement, "SINGLE_TASKS", {})
    achievement.main()
    assert "14.17 M" in capsys.readouterr().out
    measured = json.loads((tmp_path / f"achievement_{network}.json").read_text())["seg+depth+normal"]
    assert measured["parameters"] == 14_173_068  # as the released network
    assert len(measured["times"]) == 1
    assert measured["peak_bytes"] >= measured["built_bytes"] > 0  # both include this process's memory
