"""Large maps a piece at a time."""

import torch

from utils.tracing import exporting

ENTRIES = 2**20  # of a piece: 4 MiB of float32 stay in a processor's cache from one operation to the next


def pieces(count: int, entries_each: int, device: torch.device) -> list[slice]:
    """Slices that cut `count` rows of `entries_each` numbers into pieces.

    A single one on a GPU, which gains nothing, and in an exported graph, whose batch may be of any size.

    Raises:
        ValueError: when there are no rows.
    """
    if count < 1:
        raise ValueError(f"no pieces of {count} rows")
    size = max(1, ENTRIES // entries_each) if device.type == "cpu" and not exporting() else count
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
