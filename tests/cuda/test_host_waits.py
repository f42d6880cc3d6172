"""How often training steps and evaluated batches would make the host wait for a GPU, counted on the CPU."""

import os

import numpy as np
import pytest
import torch

from losses.balancing import BALANCINGS
from networks.elite360m import Elite360M
from tasks import TASKS, build_evaluator
from tasks.build import build_objective
from tests.cuda.pretend import host_waits
from tests.tiny import CPU, tiny_batch, tiny_stepper
from training.optimizers import OptimizationSettings
from training.skipping import HostCopy
from training.step import Stepper
from utils.cpu_kernels import without_cpu_kernels

CLASSES = 5
SURGERY = {name for name, method in BALANCINGS.items() if method.needs_torchjd}  # solves on the host


def random_batch(count: int = 2, height: int = 32, width: int = 64) -> dict:
    return {
        "rgb": torch.rand(count, 3, height, width),
        "depth": 10 * torch.rand(count, 1, height, width),
        "depth_mask": torch.rand(count, 1, height, width) > 0.3,
        "normal": torch.nn.functional.normalize(torch.randn(count, 3, height, width), dim=1),
        "normal_mask": torch.rand(count, 1, height, width) > 0.3,
        "semantic": torch.randint(-1, CLASSES, (count, height, width)),
        "id": [str(i) for i in range(count)],
        "index": np.arange(count),
    }


@pytest.mark.parametrize("wait", [torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.nonzero])
def test_waits_are_counted(wait):
    with host_waits() as names:
        wait(torch.ones(1))
    assert len(names) == 1


def test_counted_operations():
    x = torch.rand(3)
    with host_waits() as names:
        if (x > 0).any():
            x[x > 2]
        x.numpy()
        x + torch.where(x > 0, x, 0).sum()
        x[torch.tensor([0, 1])]
    assert names == ["_local_scalar_dense", "index", "numpy"]


@pytest.mark.parametrize("settings", [{}, {"grad_clip": 1.0, "optimizer": "adam"}, {"optimizer": "sgd"}], ids=str)
def test_a_step(settings, read_late):
    assert_no_wait(tiny_stepper(late=True, **settings), [tiny_batch([0, 1])], read_late)


@pytest.mark.parametrize("name", [name for name in BALANCINGS if name not in SURGERY])
def test_a_step_with_each_method(name, read_late):
    assert_no_wait(tiny_stepper(name, late=True), [tiny_batch([0]), tiny_batch([1])], read_late)


@pytest.mark.parametrize("settings", [{"optimizer": "rmsprop"}, {"late": False}], ids=str)
def test_a_step_whose_result_is_not_late(settings):
    """It waits only for the flags."""
    stepper, batch = tiny_stepper(**{"late": True, **settings}), tiny_batch([0, 1])
    stepper.step([batch])
    with host_waits() as names:
        stepper.step([batch])
    assert names == ["tolist"]


def test_a_step_of_the_network(read_late):
    objective = build_objective(Elite360M("Elite360M_Res18", CLASSES, ico_level=2, pretrained=False)).train()
    stepper = Stepper(objective, objective, OptimizationSettings(num_steps=9), CPU, late=True)
    with without_cpu_kernels():
        assert_no_wait(stepper, [random_batch()], read_late)


@pytest.fixture
def read_late(monkeypatch) -> list[bool]:
    """For each `HostCopy` that was read: whether a newer one, that of the next step, existed by then."""
    copies, late = [], []
    init, read = HostCopy.__init__, HostCopy.read

    def recorded_init(copy: HostCopy, tensor: torch.Tensor) -> None:
        copies.append(copy)
        init(copy, tensor)

    def uncounted_read(copy: HostCopy) -> list:
        late.append(copies[-1] is not copy)
        with torch._C.DisableTorchFunction():
            return read(copy)

    monkeypatch.setattr(HostCopy, "__init__", recorded_init)
    monkeypatch.setattr(HostCopy, "read", uncounted_read)
    return late


def assert_no_wait(stepper: Stepper, batches: list[dict], read_late: list[bool]) -> None:
    """The second step only reads the flags of the first one, and waits for nothing else."""
    stepper.step(batches)
    assert read_late == []
    with host_waits() as names:
        stepper.step(batches)
    assert names == []
    assert read_late == [True]
    stepper.settle()
    assert read_late == [True, False]


def test_moving_average(monkeypatch):
    """It moves nothing to the device. On the CPU, `to` does nothing and is not counted."""
    stepper = tiny_stepper(ema_decay=0.9)
    stepper.step([tiny_batch([0, 1])])
    monkeypatch.setattr(torch.Tensor, "to", lambda *_, **__: pytest.fail("moved"))
    with host_waits() as names:
        stepper.ema.update_parameters(stepper.objective.network, unless=torch.tensor(False))
    assert names == ["_local_scalar_dense"], "reads the number of steps, which is on the CPU"


def test_an_evaluated_batch():
    """One transfer for all tasks, metrics and breakdowns."""
    batch = random_batch()
    predictions = {
        "depth": 10 * torch.rand(2, 1, 32, 64),
        "normal": torch.randn(2, 3, 32, 64),
        "segmentation": torch.randn(2, CLASSES, 32, 64),
    }
    evaluator = build_evaluator(tuple(TASKS), CLASSES, with_breakdown=True)
    with without_cpu_kernels():
        evaluator.update(predictions, batch)
        with host_waits() as names:
            evaluator.update(predictions, batch)
    assert names == ["cpu", "numpy"], "numpy reads a CPU tensor, without waiting"


def test_gpus_are_hidden():
    """From this process and the processes that it starts."""
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not torch.cuda.is_available()
