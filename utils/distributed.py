"""Helpers for distributed processes that are no-ops in a single process."""

import gc
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import TypeVar

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import nn

from utils.errors import UserError

T = TypeVar("T")
# torch 2.14 has renamed this argument, and warns of the old name.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in signature(nn.parallel.DistributedDataParallel).parameters
)


def is_distributed() -> bool:
    """Whether there are several processes."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Rank of this process; 0 for a single one."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of processes; 1 for a single one."""
    return dist.get_world_size() if is_distributed() else 1


def is_main() -> bool:
    """Whether this is the process that prints, saves and draws."""
    return rank() == 0


def select_device(device: str, gpu_devices: list[int], local_rank: int | None) -> torch.device:
    """The device of this process.

    Args:
        device: ``auto`` for a GPU if torch sees one, else the CPU; ``cuda`` or ``cpu``.
        gpu_devices: indices of the GPUs to use when there is no launcher.
        local_rank: of a process that a launcher has started, which uses the visible GPU of that index; else None.

    Raises:
        UserError: when such a GPU does not exist, or several are asked of one process.
    """
    if device == "cpu":
        return torch.device("cpu")
    if local_rank is None and len(gpu_devices) > 1:
        raise UserError(
            f"--gpu_devices lists {len(gpu_devices)} GPUs but one process uses one: "
            f"start it with torchrun --nproc_per_node {len(gpu_devices)} in place of python"
        )
    if not torch.cuda.is_available():
        if device == "cuda":
            raise UserError("--device cuda: torch sees no GPU here; check CUDA_VISIBLE_DEVICES, or pass --device cpu")
        return torch.device("cpu")
    index = gpu_devices[0] if local_rank is None else local_rank
    if not 0 <= index < torch.cuda.device_count():
        raise UserError(
            f"GPU {index} does not exist: {torch.cuda.device_count()} visible; "
            "check CUDA_VISIBLE_DEVICES, --gpu_devices and --nproc_per_node"
        )
    return torch.device("cuda", index)


@contextmanager
def process_group(gpu_devices: list[int], device: str = "auto") -> Iterator[torch.device]:
    """Join the processes that a launcher (torchrun, torch.distributed.launch) has started, and leave them at the end.

    They exchange data by nccl on GPUs and by gloo on the CPU.

    Args:
        gpu_devices, device: see `select_device`.

    Yields:
        The device of this process.

    Raises:
        UserError: as `select_device`.
    """
    launched = "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ
    own = select_device(device, gpu_devices, int(os.environ["LOCAL_RANK"]) if launched else None)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    if launched and own.type == "cuda":
        dist.init_process_group("nccl", device_id=own)
    elif launched:
        dist.init_process_group("gloo")
    try:
        yield own
    finally:
        if launched:
            dist.destroy_process_group()
            # DistributedDataParallel is part of reference cycles that keep gloo's threads alive. A thread that is alive
            # when the interpreter exits would abort the process.
            gc.collect()


def distribute(module: nn.Module, device: torch.device) -> nn.Module:
    """Move a module to its device and, if there are several processes, wrap it in DistributedDataParallel.

    Gradients are then averaged over the processes, and on GPUs BatchNorm's statistics too. All processes start from
    rank 0's weights and buffers. After that buffers are not exchanged: most are constants, and running statistics are
    the same in all processes on GPUs, and need `broadcast_buffers` before they are used on CPUs.
    """
    module.to(device)
    if not is_distributed():
        return module
    settings = {_SYNC_BUFFERS: False, "gradient_as_bucket_view": True}
    if device.type == "cuda":  # SyncBatchNorm exists for CUDA only
        module = convert_sync_batchnorm(module)  # timm's: torch's drops the activations of timm's BatchNormAct2d
        settings["device_ids"] = [device.index]
    return nn.parallel.DistributedDataParallel(module, **settings)


def broadcast_buffers(module: nn.Module) -> None:
    """Broadcast rank 0's buffers: without SyncBatchNorm each process has separate running statistics."""
    if is_distributed():
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def all_sum(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes; no gradient flows through it."""
    return _all_reduce(tensor, "SUM")


def all_max(tensor: torch.Tensor) -> torch.Tensor:
    """The element-wise maximum of a tensor over all processes; no gradient flows through it."""
    return _all_reduce(tensor, "MAX")


def _all_reduce(tensor: torch.Tensor, operation: str) -> torch.Tensor:
    tensor = tensor.detach()
    if is_distributed():
        tensor = tensor.clone()
        dist.all_reduce(tensor, getattr(dist.ReduceOp, operation))
    return tensor


def gather_objects(value: object) -> list:
    """The values of all processes, in the order of their ranks, in every process. Values are pickled."""
    if not is_distributed():
        return [value]
    values = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_main(function: Callable[[], T]) -> T:
    """Call a function in the main process and return its result in every process.

    Raises:
        UserError, OSError: in the main process, when the function does; the others then exit with code 2, silently.
    """
    if not is_distributed():
        return function()
    outcome: list[object] = [None, None]
    if is_main():
        try:
            outcome[0] = function()
        except (UserError, OSError) as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0)
    value, error = outcome
    if error is not None:
        raise error if is_main() else SystemExit(2)
    return value


def was_restarted() -> bool:
    """Whether this process was started again by torchrun (--max-restarts), or its job by SLURM (--requeue)."""
    return any(int(os.environ.get(f"{who}_RESTART_COUNT", 0)) > 0 for who in ("TORCHELASTIC", "SLURM"))


def launch_id() -> str:
    """An id shared by all restarts of a launch: of the torchrun or SLURM job, or else of the launcher process."""
    job = os.environ.get("TORCHELASTIC_RUN_ID", "none")  # --rdzv_id
    if job == "none":
        job = os.environ.get("SLURM_JOB_ID", f"{socket.gethostname()}:{os.getppid()}")
    return job


def barrier() -> None:
    """Wait for all processes."""
    if is_distributed():
        dist.barrier()
