"""From predictions to the one number that is minimised: every task's losses, weighted by uncertainty."""

import torch
import torch.nn.functional as F
from torch import nn

from losses import TASK_LOSSES
from losses.reduction import TaskLoss

TASK_WEIGHTS = {"depth": 1.0, "normal": 2.0, "segmentation": 2.0}
LOSS_SCALE = 10.0


class UncertaintyWeighting(nn.Module):
    """Sum over tasks of 10 w_t exp(-s_t) L_t + s_t with learnt log-variances s_t (Kendall et al., CVPR 2018).

    Factor 10 and w = 1, 2, 2 for depth, normal, segmentation are those of the paper's program.
    """

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks = tasks
        self.log_variances = nn.Parameter(torch.zeros(len(tasks)))

    def forward(self, losses: dict[str, TaskLoss]) -> torch.Tensor:
        """The weighted sum, a scalar. A task without a single valid pixel adds nothing, neither loss nor s_t."""
        total = self.log_variances.new_zeros(())
        for task, log_variance in zip(self.tasks, self.log_variances, strict=True):
            term = LOSS_SCALE * TASK_WEIGHTS[task] * torch.exp(-log_variance) * losses[task].value + log_variance
            total = total + term * (losses[task].num_pixels > 0)
        return total

    def weights(self) -> dict[str, float]:
        """exp(-s_t) of each task."""
        return dict(zip(self.tasks, torch.exp(-self.log_variances.detach()).tolist(), strict=True))


class TrainingObjective(nn.Module):
    """The network and its losses as one module: a batch in, losses out.

    Being one module, it can be handed to DistributedDataParallel whole, while `network` stays at hand as it is.

    Args:
        network: an `Elite360M`.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.weighting = UncertaintyWeighting(network.tasks)

    def forward(self, batch: dict) -> dict[str, torch.Tensor]:
        """Losses of a batch (see `datasets.panorama`) in training mode.

        Returns:
            Scalars: ``total``, to be minimised, and, for each task t, ``t`` and ``intermediate_t``.
        """
        predictions = self.network(batch["rgb"])
        return self.losses(predictions, batch)

    def losses(self, predictions: dict, batch: dict) -> dict[str, torch.Tensor]:
        """As `forward`, from predictions made in training mode."""
        final = {task: TASK_LOSSES[task](predictions[task], batch) for task in self.network.tasks}
        small_size = next(iter(predictions["intermediate"].values())).shape[-2:]
        small_batch = resize_truth(batch, small_size)
        intermediate = {
            task: TASK_LOSSES[task](predictions["intermediate"][task], small_batch) for task in self.network.tasks
        }
        # The intermediate losses are not weighted.
        total = self.weighting(final) + sum(loss.value for loss in intermediate.values())
        named = {task: loss.value for task, loss in final.items()}
        named |= {f"intermediate_{task}": loss.value for task, loss in intermediate.items()}
        return {"total": total, **named}


def resize_truth(batch: dict, size: tuple[int, int]) -> dict:
    """Truth and masks of a batch at another (height, width), by nearest neighbour."""

    def resize(maps: torch.Tensor) -> torch.Tensor:
        return F.interpolate(maps.float(), size=size, mode="nearest").to(maps.dtype)

    resized = {key: resize(batch[key]) for key in ("depth", "depth_mask", "normal", "normal_mask")}
    return resized | {"semantic": resize(batch["semantic"][:, None])[:, 0]}
