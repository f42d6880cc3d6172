"""Several processes that work together, on the CPU unless told otherwise."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from utils.distributed import process_group


def run_processes(
    function: Callable[[int, int], object], num_processes: int, folder: Path, device: str = "cpu"
) -> list:
    """What `function(rank, num_processes)` returns in each of several processes, in the order of their ranks.

    The processes meet at a store of this process, as those that torchrun starts meet at its own; its port is any that
    is free.

    Args:
        function: of a module, so that a new process finds it; what it returns is plain data and tensors.
        folder: for temporary files.
        device: ``cpu``, or ``cuda`` for as many GPUs.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    mp.spawn(_run, (function, num_processes, store.port, str(folder), device), nprocs=num_processes)
    return [torch.load(folder / f"{rank}.pth", weights_only=True) for rank in range(num_processes)]


def _run(
    rank: int, function: Callable[[int, int], object], num_processes: int, port: int, folder: str, device: str
) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(num_processes))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE="True")
    torch.set_num_threads(1)
    with process_group([0], device):
        torch.save(function(rank, num_processes), f"{folder}/{rank}.pth")
