"""Reduction of pixel losses to their mean over the pixels of all processes."""

from typing import NamedTuple

import torch

from utils.distributed import all_sum, world_size


class TaskLoss(NamedTuple):
    """Loss of one task over the global batch, that of all processes.

    Attributes:
        value: scalar; its gradient, averaged over the processes as DDP does, is that of the global mean. 0 when the
            batch has no valid pixel of the task.
        num_pixels: scalar tensor, number of averaged pixels of all processes.
    """

    value: torch.Tensor
    num_pixels: torch.Tensor


def global_mean(total: torch.Tensor, counted: torch.Tensor) -> TaskLoss:
    """Mean over the pixels of all processes.

    A mean of means would give more weight to pixels of panoramas with few valid pixels. Here all pixels have the same
    weight, and several processes compute the same as one with the global batch.

    Args:
        total: sum of the pixel losses of this process.
        counted: boolean mask of the pixels that were summed.
    """
    num_pixels = all_sum(counted.sum().float())
    # DDP averages the gradients of the processes: multiplied by their number, the average is the sum.
    return TaskLoss(total * world_size() / num_pixels.clamp_min(1), num_pixels)
