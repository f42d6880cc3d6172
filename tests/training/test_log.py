"""What a training tells."""

import time

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from losses.multitask import UncertaintyWeighting
from training.log import TrainingLog
from utils.run_folder import RunFolder


@pytest.fixture
def scalars(tmp_path):
    """Two epochs of three steps; after the first, a long validation."""
    weighting = UncertaintyWeighting(("depth",))
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.25)
    log = TrainingLog(RunFolder(tmp_path), 2, weighting, optimizer)
    for epoch in (1, 2):
        for loss in log.watch([1.0, 2.0, 6.0], epoch):
            time.sleep(0.01)
            log.step({"total": torch.tensor(loss)}, num_images=5)
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
