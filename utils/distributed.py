"""Helpers for distributed processes; no-ops in a single process."""

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
# torch 2.14 renamed this argument and warns about the old name.
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
        device: ``auto`` (a GPU if torch sees one, else the CPU), ``cuda`` or ``cpu``.
        gpu_devices: indices of the GPUs to use without a launcher.
        local_rank: index of the visible GPU to use if a launcher started this process, else None.

    Raises:
        UserError: when the GPU does not exist, or several are listed for one process.
    """
    if device == "cpu":
        return torch.device("cpu")
    if local_rank is None and len(gpu_devices) > 1:
        raise UserError(
            f"--gpu_devices lists {len(gpu_devices)} GPUs, but a process uses only one: "
            f"start it with torchrun --nproc_per_node {len(gpu_devices)} instead of python"
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
    """Join the process group of a launcher (torchrun, torch.distributed.launch), and leave it at the end.

    The backend is nccl on GPUs and gloo on the CPU. Without a launcher there is no group.

    Args:
        gpu_devices, device: see `select_device`.

    Yields:
        The device of this process.

    Raises:
        UserError: as `select_device`.
    """
    launched = "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ
    selected = select_device(device, gpu_devices, int(os.environ["LOCAL_RANK"]) if launched else None)
    if selected.type == "cuda":
        torch.cuda.set_device(selected)
    if launched and selected.type == "cuda":
        dist.init_process_group("nccl", device_id=selected)
    elif launched:
        dist.init_process_group("gloo")
    try:
        yield selected
    finally:
        if launched:
            dist.destroy_process_group()
            # DistributedDataParallel's reference cycles keep gloo threads alive, which would abort the process when the
            # interpreter exits.
            gc.collect()


def distribute(module: nn.Module, device: torch.device) -> nn.Module:
    """Move a module to its device and, if there are several processes, wrap it in DistributedDataParallel.

    Gradients are then averaged over the processes, and on GPUs BatchNorm's statistics too. All processes start from
    rank 0's weights and buffers. Buffers are not exchanged after that: most are constants, and running statistics are
    the same in all processes on GPUs; on CPUs they need `broadcast_buffers` before they are used.
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
    """Sum of a tensor over all processes, without gradient."""
    return _all_reduce(tensor, "SUM")


def all_max(tensor: torch.Tensor) -> torch.Tensor:
    """Element-wise maximum of a tensor over all processes, without gradient."""
    return _all_reduce(tensor, "MAX")


def _all_reduce(tensor: torch.Tensor, operation: str) -> torch.Tensor:
    tensor = tensor.detach()
    if is_distributed():
        tensor = tensor.clone()
        dist.all_reduce(tensor, getattr(dist.ReduceOp, operation))
    return tensor


def gather_objects(value: object) -> list:
    """Return the values of all processes, ordered by rank, in every process. Values are pickled."""
    if not is_distributed():
        return [value]
    values = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_main(function: Callable[[], T]) -> T:
    """Call a function in the main process and return its result in every process.

    Raises:
        UserError, OSError: in the main process, when the function raises one; the others silently exit with code 2.
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
    """Whether torchrun (--max-restarts) restarted this process, or SLURM (--requeue) its job."""
    return any(int(os.environ.get(f"{who}_RESTART_COUNT", 0)) > 0 for who in ("TORCHELASTIC", "SLURM"))


def launch_id() -> str:
    """An id shared by all restarts of a launch: the torchrun or SLURM job's, or else one of the launcher process."""
    job = os.environ.get("TORCHELASTIC_RUN_ID", "none")  # --rdzv_id
    if job == "none":
        job = os.environ.get("SLURM_JOB_ID", f"{socket.gethostname()}:{os.getppid()}")
    return job


def barrier() -> None:
    """Wait for all processes."""
    if is_distributed():
        dist.barrier()
