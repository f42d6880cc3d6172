"""Extra metrics of panoramas, computed on request: they compare several tasks, or are costly."""

from collections.abc import Callable
from typing import NamedTuple

import torch


class ExtraValues(NamedTuple):
    """Values of an extra metric for a batch, on its device.

    Attributes:
        values: (B, n) float64.
        is_valid: which images have values, (B,) bool.
    """

    values: torch.Tensor
    is_valid: torch.Tensor


class ExtraMetric(NamedTuple):
    """An extra metric of single images, averaged over images.

    Attributes:
        task: task whose results list it.
        names: names of its n values.
        description: definition, for results.json.
        compute: returns the values, given predictions and batch.
    """

    task: str
    names: tuple[str, ...]
    description: str
    compute: Callable[[dict[str, torch.Tensor], dict], ExtraValues]


def f1_score(precision: torch.Tensor, recall: torch.Tensor) -> torch.Tensor:
    """Harmonic mean of precision and recall; 0 if both are 0."""
    total = precision + recall
    return torch.where(total > 0, 2 * precision * recall / total, total)
