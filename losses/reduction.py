"""How pixel losses become one number: the sum over the whole batch, all processes', over the count of its pixels."""

from typing import NamedTuple

import torch

from utils.distributed import all_sum, world_size


class TaskLoss(NamedTuple):
    """Loss of one task over the global batch.

    Attributes:
        value: scalar; its gradient, averaged over the processes as DDP does, is that of the global mean. 0 when the
            batch has no valid pixel of the task.
        num_pixels: scalar tensor, the pixels of all processes that went into it.
    """

    value: torch.Tensor
    num_pixels: torch.Tensor


def global_mean(pixel_losses: torch.Tensor) -> TaskLoss:
    """Mean of these pixel losses (n,) and those of the other processes.

    Mean-of-means would give a pixel in a picture full of holes more say than another; here all count the same, and
    several processes give what one with their joint batch gives.
    """
    num_pixels = all_sum(torch.tensor(float(pixel_losses.numel()), device=pixel_losses.device))
    # DDP averages the gradients of the processes: times their number, so that the average is the sum.
    return TaskLoss(pixel_losses.sum() * world_size() / num_pixels.clamp_min(1), num_pixels)
