"""What a training tells."""

import copy
import json
import time

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from losses.balancing.uncertainty import UncertaintyWeighting
from training.log import MetricsFile, TrainingLog
from training.step import StepResult
from utils.run_folder import RunFolder


def step_result(loss: float, num_images: int = 1) -> StepResult:
    return StepResult({"total": torch.tensor(loss)}, num_images, problem="", stop=False)


@pytest.fixture
def scalars(tmp_path):
    """Two epochs of three steps; after the first, a long validation."""
    weighting = UncertaintyWeighting(("depth",), {"depth": 1})
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.25)
    log = TrainingLog(RunFolder(tmp_path), 2, weighting, optimizer)
    for epoch in (1, 2):
        for loss in log.watch([1.0, 2.0, 6.0], epoch):
            time.sleep(0.01)
            log.step(step_result(loss, num_images=5))
        time.sleep(0.3)
        log.validation(epoch, {"depth": {"rms": 0.5 / epoch}})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    return lambda name: [(event.step, event.value) for event in events.Scalars(name)], tmp_path


def test_losses_are_means_over_the_steps_since_the_last_time(scalars):
    read, _ = scalars
    assert read("loss/total") == [(2, 1.5), (3, 6.0), (4, 1.0), (6, 4.0)]


def test_speed_is_that_of_training_alone(scalars):
    """Ten milliseconds a step of five images; with the validation it would be below 17 images/s."""
    read, _ = scalars
    assert all(rate > 50 for _, rate in read("run/images_per_second"))
    assert all(0 <= share < 0.5 for _, share in read("run/data_wait_share"))


def test_the_rest(scalars):
    read, root = scalars
    assert read("run/learning_rate")[0] == (2, 0.25)
    assert read("weight/depth")[0] == (2, 1.0)
    assert read("validation_depth/rms") == [(1, 0.5), (2, 0.25)]
    assert (root / "depth" / "result.txt").read_text() == "epoch 1  rms 0.5000\nepoch 2  rms 0.2500\n"


def test_everything_is_in_metrics_jsonl_too(scalars):
    read, root = scalars
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss/total"]) for line in lines if "loss/total" in line] == read("loss/total")
    assert [line["epoch"] for line in lines if "validation_depth/rms" in line] == [1, 2]
    assert all(line["run/memory_gb"] > 0 for line in lines if "step" in line)


def test_warns_once_of_waiting_for_data(tmp_path, capsys):
    weighting = UncertaintyWeighting(("depth",), {"depth": 1})
    log = TrainingLog(RunFolder(tmp_path), 10, weighting, torch.optim.Adam(weighting.parameters()))

    def slow():
        for _ in range(60):
            time.sleep(0.002)
            yield 1.0

    for loss in log.watch(slow(), epoch=1):
        log.step(step_result(loss))
    log.close()
    assert capsys.readouterr().out.count("of the time is spent waiting for data") == 1


def test_goes_on_where_it_was(tmp_path):
    """Steps are counted on; what the ended run wrote after its last state is dropped."""
    weighting = UncertaintyWeighting(("depth",), {"depth": 1})
    optimizer = torch.optim.Adam(weighting.parameters())
    run = RunFolder(tmp_path)
    log = TrainingLog(run, 1, weighting, optimizer)
    for loss in log.watch([1.0, 2.0], epoch=1):
        log.step(step_result(loss))
    state = copy.deepcopy(log.state_dict())
    for loss in log.watch([77.0], epoch=1):
        log.step(step_result(loss))
    log.close()
    time.sleep(1.1)  # TensorBoard tells the files of a folder apart by their second
    resumed = TrainingLog(run, 1, weighting, optimizer, resumed=True)
    resumed.load_state_dict(state)
    for loss in resumed.watch([3.0], epoch=1, first=2, total=3):
        resumed.step(step_result(loss))
    resumed.close()
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [(line["step"], line["loss/total"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/total")] == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_an_entry_is_appended(tmp_path):
    """Writing a line takes as long after many lines as after none: what was written before is not written again."""
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    metrics.append({"step": 1, "loss": 0.5})
    node = path.stat().st_ino
    with open(path, "r+b") as file:
        file.write(b"X")
    metrics.append({"step": 2, "loss": float("nan")})
    assert path.read_text() == 'X"step": 1, "loss": 0.5}\n{"step": 2, "loss": null}\n'
    assert path.stat().st_ino == node


def test_lines_after_the_saved_state_are_dropped(tmp_path, capsys):
    """Also half a line of a killed process; a file that was cut in the meantime is reported."""
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    metrics.append({"step": 1})
    size = metrics.sync()
    metrics.append({"step": 2})
    metrics.close()
    with open(path, "a") as file:
        file.write('{"ste')
    metrics = MetricsFile(path, keep=size)
    metrics.append({"step": 2, "again": True})
    metrics.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2, "again": true}\n'
    assert not capsys.readouterr().err
    path.write_text("")
    MetricsFile(path, keep=size).close()
    assert str(path) in capsys.readouterr().err
