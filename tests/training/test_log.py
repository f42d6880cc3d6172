"""Progress bar, TensorBoard and metrics.jsonl of a training."""

import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from losses.balancing.uncertainty import UncertaintyWeighting
from tasks import FOLDERS
from training.log import MetricsFile, TrainingLog
from training.run_folder import RunFolder
from training.step import StepResult


def step_result(loss: float, num_images: int = 1) -> StepResult:
    return StepResult({"total": torch.tensor(loss)}, num_images, problem="", stop=False)


class Clock:
    """A clock that stands still unless `pass_time` moves it."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def reading(self, losses: list[float], seconds: float):
        """Yield losses, each after some time."""
        for loss in losses:
            self.pass_time(seconds)
            yield loss


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock that the log reads."""
    clock = Clock()
    monkeypatch.setattr("training.log.time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


@pytest.fixture
def scalars(tmp_path, clock):
    """TensorBoard of two epochs of three steps of five images: data take 1 s, steps 4 s, validations 1000 s."""
    weighting = UncertaintyWeighting(("depth",), {"depth": 1})
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.25)
    log = TrainingLog(RunFolder(tmp_path, FOLDERS), 2, weighting, optimizer)
    for epoch in (1, 2):
        for loss in log.watch(clock.reading([1.0, 2.0, 6.0], seconds=1), epoch):
            clock.pass_time(4)
            log.step(step_result(loss, num_images=5))
        clock.pass_time(1000)
        log.validation(epoch, {"depth": {"rms": 0.5 / epoch}}, {"depth": None})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    return lambda name: [(event.step, event.value) for event in events.Scalars(name)], tmp_path


def test_losses_are_means_over_a_window(scalars):
    read, _ = scalars
    assert read("loss/total") == [(2, 1.5), (3, 6.0), (4, 1.0), (6, 4.0)]


def test_speed_excludes_validation(scalars):
    read, _ = scalars
    assert [rate for _, rate in read("run/images_per_second")] == pytest.approx([1, 1, 1, 1])
    assert [share for _, share in read("run/data_wait_share")] == pytest.approx([0.2, 0.2, 0.2, 0.2])


def test_rate_weights_and_validation(scalars):
    read, root = scalars
    assert read("run/learning_rate")[0] == (2, 0.25)
    assert read("weight/depth")[0] == (2, 1.0)
    assert read("validation_depth/rms") == [(1, 0.5), (2, 0.25)]
    assert (root / "depth" / "result.txt").read_text() == "epoch 1  rms 0.5000\nepoch 2  rms 0.2500\n"


def test_metrics_jsonl_has_the_same_values(scalars):
    read, root = scalars
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss/total"]) for line in lines if "loss/total" in line] == read("loss/total")
    assert [line["epoch"] for line in lines if "validation_depth/rms" in line] == [1, 2]
    assert all(line["run/memory_gb"] > 0 for line in lines if "step" in line)


def test_gpu_memory_is_per_window(tmp_path, clock, monkeypatch):
    """Of tensors and reserved; the peak is reset for each window."""
    peaks = iter([3 * 2**30, 2 * 2**30])
    resets = []
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: next(peaks))
    monkeypatch.setattr("torch.cuda.max_memory_reserved", lambda: 4 * 2**30)
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda: resets.append(len(read())))
    weighting = UncertaintyWeighting(("depth",), {"depth": 1})

    def read() -> list[dict]:
        path = tmp_path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    log = TrainingLog(RunFolder(tmp_path, FOLDERS), 2, weighting, torch.optim.Adam(weighting.parameters()))
    for loss in log.watch(clock.reading([1.0] * 4, 1), epoch=1):
        clock.pass_time(4)
        log.step(step_result(loss))
    log.close()
    assert [(line["run/memory_gb"], line["run/memory_reserved_gb"]) for line in read()] == [(3, 4), (2, 4)]
    assert set(resets) == {0, 1, 2}, "before, and after each line"


@pytest.mark.parametrize(("seconds", "num_steps", "warnings"), [(2, 60, 1), (0.1, 60, 0), (2, 10, 0)])
def test_warns_once_about_waiting_for_data(tmp_path, clock, capsys, seconds, num_steps, warnings):
    """Only above a limit, and not in the first steps, which wait for the workers to start."""
    weighting = UncertaintyWeighting(("depth",), {"depth": 1})
    log = TrainingLog(RunFolder(tmp_path, FOLDERS), 10, weighting, torch.optim.Adam(weighting.parameters()))
    for loss in log.watch(clock.reading([1.0] * num_steps, seconds), epoch=1):
        clock.pass_time(4)
        log.step(step_result(loss))
    log.close()
    assert capsys.readouterr().out.count("--num_workers") == warnings


def age_events(folder) -> None:
    """Date the files of a TensorBoard folder back: they are read in the order of the seconds in their names."""
    for path in folder.iterdir():
        *start, _, rest = path.name.split(".", 4)  # events.out.tfevents.SECOND.HOST ...
        path.rename(path.with_name(".".join([*start, "0000000001", rest])))


def test_resuming(tmp_path):
    """Step numbers continue; entries after the last state of the earlier run are dropped."""
    weighting = UncertaintyWeighting(("depth",), {"depth": 1})
    optimizer = torch.optim.Adam(weighting.parameters())
    run = RunFolder(tmp_path, FOLDERS)
    log = TrainingLog(run, 1, weighting, optimizer)
    for loss in log.watch([1.0, 2.0], epoch=1):
        log.step(step_result(loss))
    state = copy.deepcopy(log.state_dict())
    for loss in log.watch([77.0], epoch=1):
        log.step(step_result(loss))
    log.close()
    age_events(run.tensorboard)
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


def test_entries_are_appended(tmp_path):
    """Earlier lines are not written again."""
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
    """As is an incomplete line of a killed process; a file that is now shorter is reported."""
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


def test_tasks_without_ground_truth_in_an_epoch_are_named(tmp_path, capsys):
    """Unless the epoch was resumed: its earlier steps are unknown."""
    weighting = UncertaintyWeighting(("depth",), {"depth": 1})
    log = TrainingLog(RunFolder(tmp_path, FOLDERS), 10, weighting, torch.optim.Adam(weighting.parameters()))
    for epoch, unlabeled, first in ((1, [{"a", "b"}, {"a"}], 0), (2, [{"a"}, {"b"}], 0), (3, [{"a"}], 1)):
        for tasks in log.watch(unlabeled, epoch, first, total=first + len(unlabeled)):
            log.step(replace(step_result(1.0), without_pixels=frozenset(tasks)))
        lines = [line for line in capsys.readouterr().err.splitlines() if "ground truth" in line]
        assert [line.partition(" for ")[2].partition(":")[0] for line in lines] == (["a"] if epoch == 1 else [])
    log.close()
