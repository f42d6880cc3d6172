"""Processing large maps in chunks of rows."""

import torch

from utils.cpu_kernels import use_cpu_kernels

CHUNK_ELEMENTS = 2**20  # 4 MiB of float32 fit in the cache of a processor


def is_exporting() -> bool:
    """Whether torch.export is tracing: its graph has to work for any batch size, on any machine.

    False under torch.compile, which compiles for this machine.
    """
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


def row_chunks(num_rows: int, elements_per_row: int, like: torch.Tensor) -> list[slice]:
    """Split `num_rows` rows into slices of about CHUNK_ELEMENTS elements.

    One slice if the device of `like` does not benefit from chunks (`use_cpu_kernels`), and in exported graphs.

    Raises:
        ValueError: when there are no rows.
    """
    if num_rows < 1:
        raise ValueError(f"no chunks of {num_rows} rows")
    in_chunks = use_cpu_kernels(like) and not is_exporting()
    size = max(1, CHUNK_ELEMENTS // elements_per_row) if in_chunks else num_rows
    return [slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]
