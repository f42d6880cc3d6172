"""Reduction of summed losses to means over all processes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from utils.distributed import all_sum, world_size


class LossSum(NamedTuple):
    """Loss of one task, summed over the batch of this process.

    Attributes:
        total: scalar, the sum over the counted pixels.
        num_pixels: scalar tensor, the number of counted pixels.
    """

    total: torch.Tensor
    num_pixels: torch.Tensor


class MeanLoss(NamedTuple):
    """Mean loss of one task over the global batch: this batch in all processes, not all batches of a step.

    Attributes:
        value: scalar, this process's part of the mean times the number of processes. Its mean over the processes is
            the mean over the global batch, as are gradients averaged by DDP. 0 when that batch has no valid pixel of
            the task.
        num_pixels: scalar tensor, the number of counted pixels in all processes.
    """

    value: torch.Tensor
    num_pixels: torch.Tensor


def global_means(sums: Sequence[LossSum]) -> list[MeanLoss]:
    """The mean of each loss over the pixels of all processes. The counts of all losses are exchanged at once.

    A mean of means would give more weight to pixels of panoramas with few valid pixels. Here all pixels have the same
    weight, and several processes compute the same loss as one process with the global batch.
    """
    counts = all_sum(torch.stack([loss.num_pixels.float() for loss in sums]))
    # DDP averages gradients over the processes; times the number of processes, the average becomes the sum.
    return [
        MeanLoss(loss.total * world_size() / count.clamp_min(1), count)
        for loss, count in zip(sums, counts, strict=True)
    ]
