"""Reduction of pixel losses to their mean over the pixels of all processes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from utils.distributed import all_sum, world_size


class PixelLoss(NamedTuple):
    """Loss of one task over the batch of this process, not yet divided.

    Attributes:
        total: scalar, the sum over the pixels that count.
        num_pixels: scalar tensor, how many those are.
    """

    total: torch.Tensor
    num_pixels: torch.Tensor


class TaskLoss(NamedTuple):
    """Loss of one task over the global batch, that of all processes.

    Attributes:
        value: scalar; its gradient, averaged over the processes as DDP does, is that of the global mean. 0 when the
            batch has no valid pixel of the task.
        num_pixels: scalar tensor, number of averaged pixels of all processes.
    """

    value: torch.Tensor
    num_pixels: torch.Tensor


def global_means(losses: Sequence[PixelLoss]) -> list[TaskLoss]:
    """Of each loss the mean over its pixels in all processes; their numbers are exchanged together.

    A mean of means would give more weight to pixels of panoramas with few valid pixels. Here all pixels have the same
    weight, and several processes compute the same as one with the global batch.
    """
    counts = all_sum(torch.stack([loss.num_pixels.float() for loss in losses]))
    # DDP averages the gradients of the processes: times their number, so that the average is the sum.
    return [
        TaskLoss(loss.total * world_size() / count.clamp_min(1), count)
        for loss, count in zip(losses, counts, strict=True)
    ]
