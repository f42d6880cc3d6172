"""How pixel losses become one number: the sum over the pixels of all processes over their count."""

from typing import NamedTuple

import torch

from utils.distributed import all_sum, world_size


class TaskLoss(NamedTuple):
    """Loss of one task over the batch of all processes together.

    Attributes:
        value: scalar; its gradient, averaged over the processes as DDP does, is that of the global mean. 0 when the
            batch has no valid pixel of the task.
        num_pixels: scalar tensor, the pixels of all processes that were averaged over.
    """

    value: torch.Tensor
    num_pixels: torch.Tensor


def global_mean(total: torch.Tensor, counted: torch.Tensor) -> TaskLoss:
    """Mean of the pixel losses that add up to `total` over the `counted` pixels, and of those of all other processes.

    A mean of means would give a pixel of a panorama with many holes more weight than another; here all count the same,
    and several processes compute what one would from their joint batch.
    """
    num_pixels = all_sum(counted.sum().float())
    # DDP averages the gradients of the processes: times their number, so that the average is the sum.
    return TaskLoss(total * world_size() / num_pixels.clamp_min(1), num_pixels)
