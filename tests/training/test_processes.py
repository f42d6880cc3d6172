"""Two processes with batches of B do the step that one process with a batch of 2B does."""

import os

import pytest
import torch
import torch.multiprocessing as mp

from datasets.synthetic import SyntheticRooms
from networks.elite360m import Elite360M
from tasks import build_objective
from training.optimizers import OptimizationSettings
from training.step import Stepper
from utils.distributed import parallelise, process_group

CPU = torch.device("cpu")


def joint_step(rank: int, processes: int) -> dict:
    """Losses and gradients of one step over four rooms, shared out; BatchNorm's statistics are frozen.

    (SyncBatchNorm, which would share them, exists on CUDA only.)
    """
    torch.manual_seed(0)
    objective = build_objective(Elite360M("Elite360M_Res18", 13, ico_level=2, pretrained=False)).train()
    for layer in objective.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.eval()
    rooms = SyntheticRooms("train", 4, 32, 64)
    batch = torch.utils.data.default_collate([rooms[i] for i in range(rank, 4, processes)])
    if rank == 0:  # valid pixels lie unevenly
        batch["depth_mask"][0, ..., 8:] = False
        batch["semantic"][0, ..., 20:] = -1
    stepper = Stepper(objective, parallelise(objective, CPU), OptimizationSettings(num_steps=1), CPU)
    losses, _ = stepper._backward([batch])
    gradients = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
    bad = batch | {"rgb": batch["rgb"] * (torch.nan if rank == processes - 1 else 1)}
    result = stepper.step([bad])
    return {
        "losses": {name: loss.item() for name, loss in losses.items()},
        "gradients": gradients,
        "problem": result.problem,
        "updated": bool(stepper.optimizer.state),
    }


def process(rank: int, processes: int, port: int, folder: str) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ.update(LOCAL_RANK=str(rank), CUDA_VISIBLE_DEVICES="")
    torch.set_num_threads(1)
    with process_group([0]):
        torch.save(joint_step(rank, processes), f"{folder}/{rank}.pth")


@pytest.mark.slow
def test_two_processes_do_the_step_of_one(tmp_path):
    mp.spawn(process, (2, 29611, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in (0, 1))
    alone = joint_step(0, 1)
    for name, loss in alone["losses"].items():
        # Each process holds its share of the mean, times the number of processes.
        assert (first["losses"][name] + second["losses"][name]) / 2 == pytest.approx(loss, rel=1e-5), name
    scale = max(gradient.norm() for gradient in alone["gradients"].values())
    for name, gradient in alone["gradients"].items():
        assert torch.equal(first["gradients"][name], second["gradients"][name])
        assert (first["gradients"][name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6 * scale, name


@pytest.mark.slow
def test_a_bad_loss_in_one_process_stops_the_step_of_all(tmp_path):
    mp.spawn(process, (2, 29612, str(tmp_path)), nprocs=2)
    for rank in (0, 1):
        result = torch.load(tmp_path / f"{rank}.pth", weights_only=True)
        assert result["problem"].startswith("total, depth")
        assert "synthetic/train/000001, synthetic/train/000003" in result["problem"]
        assert "000000" not in result["problem"], "the samples of the other process are fine"
        assert not result["updated"]
