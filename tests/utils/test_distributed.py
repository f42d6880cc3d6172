"""Several processes (gloo, on the CPU) against one, and the choice of devices."""

import pytest
import torch

from losses.reduction import global_means
from tasks import TASKS, build_evaluator
from tests.processes import run_processes
from utils.distributed import (
    all_max,
    all_sum,
    broadcast_buffers,
    distribute,
    gather_objects,
    is_main,
    launch_id,
    process_group,
    rank,
    select_device,
    was_restarted,
    world_size,
)
from utils.errors import UserError

COUNT, CLASSES = 6, 5
CPU = torch.device("cpu")


def test_single_process():
    with process_group([0]) as device:
        assert device.type in ("cpu", "cuda")
        assert (rank(), world_size(), is_main()) == (0, 1, True)
        assert all_sum(torch.tensor(3.0)) == all_max(torch.tensor(3.0)) == 3
        assert gather_objects("x") == ["x"]


def test_several_gpus_need_a_launcher():
    with pytest.raises(UserError, match="--nproc_per_node 2"), process_group([0, 1]):
        pass


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.parametrize(
    ("device", "gpu_devices", "local_rank", "expected"),
    [
        ("auto", [1], None, "cuda:1"),
        ("cuda", [0], None, "cuda:0"),
        ("auto", [0], 1, "cuda:1"),
        ("cuda", [0, 1], 1, "cuda:1"),
        ("cpu", [0], None, "cpu"),
        ("cpu", [0, 1], 1, "cpu"),
    ],
)
def test_select_device(device, gpu_devices, local_rank, expected, two_gpus):
    assert select_device(device, gpu_devices, local_rank) == torch.device(expected)


@pytest.mark.parametrize(("gpu_devices", "local_rank"), [([2], None), ([-1], None), ([0], 2)])
def test_nonexistent_gpus(gpu_devices, local_rank, two_gpus):
    with pytest.raises(UserError, match=r"2 visible.*--gpu_devices"):
        select_device("auto", gpu_devices, local_rank)


def test_without_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert select_device("auto", [0], None) == select_device("auto", [0], 1) == CPU
    with pytest.raises(UserError, match="--device cuda"):
        select_device("cuda", [0], None)


@pytest.mark.parametrize(("device", "group"), [("auto", ("nccl", torch.device("cuda", 1))), ("cpu", ("gloo", None))])
def test_backend(device, group, two_gpus, monkeypatch):
    """An nccl group gets the device of its process."""
    joined, current = [], []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.cuda.set_device", current.append)
    monkeypatch.setattr(
        "torch.distributed.init_process_group", lambda backend, device_id=None: joined.append((backend, device_id))
    )
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    with process_group([0], device) as selected:
        assert joined == [group]
        assert selected == (group[1] or CPU)
    assert current == ([group[1]] if group[1] else [])


@pytest.mark.parametrize("device", [torch.device("cpu"), torch.device("cuda", 1)])
def test_ddp_settings(device, monkeypatch):
    """Buffers are not sent in forward passes, gradients are not copied twice, and BatchNorm is synchronized on GPUs."""
    settings = {}
    monkeypatch.setattr("utils.distributed.is_distributed", lambda: True)
    monkeypatch.setattr("torch.nn.Module.to", lambda module, *_: module)
    monkeypatch.setattr(
        "torch.nn.parallel.DistributedDataParallel", lambda module, **named: settings.update(named, module=module)
    )
    distribute(torch.nn.Sequential(torch.nn.BatchNorm2d(3)), device)
    [sync_buffers] = {"broadcast_buffers", "forward_sync_buffers"} & settings.keys()  # depends on torch's version
    assert settings[sync_buffers] is False
    assert settings["gradient_as_bucket_view"] is True
    assert settings.get("device_ids") == ([1] if device.type == "cuda" else None)
    assert isinstance(settings["module"][0], torch.nn.SyncBatchNorm) == (device.type == "cuda")


@pytest.mark.parametrize(
    ("job", "count"), [("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"), ("SLURM_JOB_ID", "SLURM_RESTART_COUNT")]
)
def test_restarts(job, count, monkeypatch):
    """All starts of a launch share its id; restarts are recognized."""
    for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    assert not was_restarted()
    of_launcher = launch_id()
    assert launch_id() == of_launcher
    monkeypatch.setenv(job, "17")
    monkeypatch.setenv(count, "0")
    assert not was_restarted()
    assert launch_id() == "17" != of_launcher
    monkeypatch.setenv(count, "1")
    assert was_restarted()


def batch_and_predictions() -> tuple[dict, dict]:
    """Six images; the first three have few valid pixels, the last three many."""
    g = torch.Generator().manual_seed(1)
    fraction = torch.tensor([0.05, 0.1, 0.2, 0.8, 0.9, 1.0]).view(-1, 1, 1, 1)
    mask = torch.rand(COUNT, 1, 8, 16, generator=g) < fraction
    batch = {
        "index": torch.arange(COUNT),
        "id": [str(i) for i in range(COUNT)],
        "depth": 0.1 + 9 * torch.rand(COUNT, 1, 8, 16, generator=g),
        "depth_mask": mask,
        "normal": torch.nn.functional.normalize(torch.randn(COUNT, 3, 8, 16, generator=g), dim=1),
        "normal_mask": mask,
        "semantic": torch.randint(0, CLASSES, (COUNT, 8, 16), generator=g).masked_fill(~mask[:, 0], -1),
    }
    predictions = {
        "depth": 9 * torch.rand(COUNT, 1, 8, 16, generator=g),
        "normal": torch.randn(COUNT, 3, 8, 16, generator=g),
        "segmentation": torch.randn(COUNT, CLASSES, 8, 16, generator=g),
    }
    return batch, predictions


def part(batch: dict, indices: list[int]) -> dict:
    return {k: [v[i] for i in indices] if isinstance(v, list) else v[indices] for k, v in batch.items()}


def losses_and_metrics(indices: list[int]) -> dict:
    """Results of a process with these images: losses and gradients, averaged as by DDP, and metrics."""
    batch, predictions = batch_and_predictions()
    batch, predictions = part(batch, indices), part(predictions, indices)
    out = {}
    for task in TASKS:
        prediction = predictions[task].clone().requires_grad_()
        weight = torch.full((), 0.5, requires_grad=True)  # a shared weight
        [loss] = global_means([TASKS[task].loss(prediction + weight * prediction.detach().roll(1, dims=-1), batch)])
        loss.value.backward()
        out[task] = {
            "loss": (all_sum(loss.value) / world_size()).item(),
            "gradient": (all_sum(weight.grad) / world_size()).item(),
            "num_pixels": loss.num_pixels.item(),
        }
    evaluator = build_evaluator(tuple(TASKS), CLASSES)
    evaluator.update(predictions, batch)
    return out | {"metrics": evaluator.compute()}


def joint_training(indices: list[int]) -> dict:
    """Gradient of a distributed model, and a running statistic after `broadcast_buffers`."""
    batch, predictions = batch_and_predictions()
    batch = part(batch, indices)
    torch.manual_seed(rank())  # as in training: initial weights differ, and rank 0's are used
    model = torch.nn.Conv2d(1, 1, 3, padding=1)
    norm = torch.nn.BatchNorm1d(1)
    norm.running_mean.fill_(rank() + 7.0)
    parallel_model = distribute(model, torch.device("cpu"))
    [loss] = global_means([TASKS["depth"].loss(parallel_model(predictions["depth"][indices]), batch)])
    loss.value.backward()
    broadcast_buffers(norm)
    return {"gradient": model.weight.grad.flatten().tolist(), "running_mean": norm.running_mean.item()}


def _process(process_rank: int, processes: int) -> dict:
    indices = list(range(process_rank, COUNT, processes))
    return losses_and_metrics(indices) | joint_training(indices)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_equal_one(processes, tmp_path):
    """Losses and gradients of the global batch, whose valid pixels are unevenly distributed; metrics are identical."""
    results = run_processes(_process, processes, tmp_path)
    expected = losses_and_metrics(list(range(COUNT)))
    for task in TASKS:
        assert results[0][task] == pytest.approx(expected[task], rel=1e-5)
    expected |= joint_training(list(range(COUNT)))
    assert len(results) == processes
    for result in results:
        assert result["metrics"] == expected["metrics"]
        assert result["gradient"] == pytest.approx(expected["gradient"], rel=1e-4)
        assert result["running_mean"] == 7
