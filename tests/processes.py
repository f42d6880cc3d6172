"""Groups of processes, like those that torchrun starts, by default on the CPU.

They are forked from a server process that has already imported the scripts, which takes seconds.
"""

import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from utils.distributed import process_group

multiprocessing.set_forkserver_preload(["train_elite360m", "eval_elite360m"])


class Launch:
    """Starts `num_processes` processes, each of which calls `function(rank, num_processes)`.

    They use a store in this process at any free port, just as torchrun's processes use torchrun's store.

    Args:
        function: defined in a module, so that a new process can import it.
        num_processes: size of the group.
        log: file for the output of the processes; None: it is not redirected.
    """

    def __init__(self, function: Callable[[int, int], object], num_processes: int, log: Path | None = None):
        self._store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        arguments = (function, num_processes, self._store.port, log)
        self._context = mp.start_processes(_run, arguments, num_processes, join=False, start_method="forkserver")
        self.pids = self._context.pids()

    def wait(self) -> None:
        """Wait until all processes have ended.

        Raises:
            torch.multiprocessing.ProcessRaisedException, ProcessExitedException: when one has failed.
        """
        while not self._context.join():
            pass

    def exit_codes(self) -> list[int | None]:
        """Exit codes of all processes; None for a process that has not ended after 100 seconds."""
        for process in self._context.processes:
            process.join(100)
        return [process.exitcode for process in self._context.processes]

    def is_running(self) -> bool:
        """Whether all processes are alive."""
        return all(process.is_alive() for process in self._context.processes)


def _run(rank: int, function: Callable, num_processes: int, port: int, log: Path | None) -> None:
    if log is not None:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
    if num_processes > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(num_processes))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_USE_AGENT_STORE="True")
    torch.set_num_threads(1)
    function(rank, num_processes)


def run_processes(
    function: Callable[[int, int], object], num_processes: int, folder: Path, device: str = "cpu"
) -> list:
    """The values of `function(rank, num_processes)` in all processes of a group, in the order of ranks.

    Args:
        function: defined in a module; returns plain data and tensors.
        num_processes: size of the group.
        folder: for temporary files.
        device: ``cpu``, or ``cuda`` for one GPU per process.
    """
    Launch(partial(_in_group, function, folder, device), num_processes).wait()
    return [torch.load(folder / f"{rank}.pth", weights_only=True) for rank in range(num_processes)]


def _in_group(function: Callable, folder: Path, device: str, rank: int, num_processes: int) -> None:
    with process_group([0], device):
        torch.save(function(rank, num_processes), folder / f"{rank}.pth")
