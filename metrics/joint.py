"""Further metrics of panoramas, computed on request: of several tasks' predictions together, or at more cost."""

from collections.abc import Callable
from typing import NamedTuple

import torch


class JointValues(NamedTuple):
    """Values (B, n) float64 of the images of a batch, and which images have them, (B,) bool; on the device."""

    values: torch.Tensor
    is_known: torch.Tensor


class JointMetric(NamedTuple):
    """A further metric of single images; means over images are those of a dataset.

    Attributes:
        task: whose metrics it is listed with.
        names: of its n values.
        description: of what they are.
        of_batch: from predictions and batch to the values.
    """

    task: str
    names: tuple[str, ...]
    description: str
    of_batch: Callable[[dict[str, torch.Tensor], dict], JointValues]
