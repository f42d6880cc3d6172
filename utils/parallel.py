"""Mapping a function over files in several processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")
_FEW = 32  # items


def map_with_progress(
    work: Callable[[Item], Result], items: Sequence[Item], num_workers: int | None, description: str
) -> Iterator[Result]:
    """Yield the results of `work` for all items, in order, with a progress bar.

    Args:
        work: picklable: a module-level function, or a `functools.partial` of one.
        num_workers: number of processes; 0 runs in this process. None: see `default_workers`.
    """
    progress = {"total": len(items), "desc": description, "unit": "file", "dynamic_ncols": True}
    if num_workers is None:
        num_workers = default_workers(len(items))
    if num_workers == 0:
        yield from tqdm(map(work, items), **progress)
        return
    # Spawned, as a process with threads must not be forked.
    with ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn")) as pool:
        yield from tqdm(pool.map(work, items), **progress)


def default_workers(num_items: int) -> int:
    """One process per core, but 0 for few items, as starting processes that import torch takes seconds."""
    return (os.cpu_count() or 1) if num_items > _FEW else 0
