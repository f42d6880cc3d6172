"""From predictions to the one number that is minimised: every task's losses, weighted by uncertainty."""

import torch
import torch.nn.functional as F
from torch import nn

from losses.reduction import GLOBAL_BATCH, GlobalBatch, TaskLoss
from tasks import TASKS

LOSS_SCALE = 10.0


class UncertaintyWeighting(nn.Module):
    """Sum over tasks of 10 w_t exp(-s_t) L_t + s_t with learnt log-variances s_t (Kendall et al., CVPR 2018).

    Factor 10 and w = 1, 2, 2 for depth, normal, segmentation are those of the paper's program.
    """

    def __init__(self, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks = tasks
        self.log_variances = nn.Parameter(torch.zeros(len(tasks)))

    def forward(self, losses: dict[str, TaskLoss], share: float = 1.0) -> torch.Tensor:
        """The weighted sum, a scalar. A task without a single valid pixel adds nothing, neither loss nor s_t.

        Args:
            losses: of each task.
            share: of the batch that they were taken over; s_t is added so many times.
        """
        total = self.log_variances.new_zeros(())
        for task, log_variance in zip(self.tasks, self.log_variances, strict=True):
            weight = LOSS_SCALE * TASKS[task].loss_weight * torch.exp(-log_variance)
            total = total + (weight * losses[task].value + log_variance * share) * (losses[task].num_pixels > 0)
        return total

    def weights(self) -> dict[str, float]:
        """exp(-s_t) of each task."""
        return dict(zip(self.tasks, torch.exp(-self.log_variances.detach()).tolist(), strict=True))


class TrainingObjective(nn.Module):
    """The network and its losses as one module: a batch in, losses out.

    Being one module, it can be handed to DistributedDataParallel whole, while `network` stays at hand as it is.

    Args:
        network: an `Elite360M`.
        amp_type: type that the network computes in where that is safe; None is float32 throughout. Losses, softmaxes
            and the normalisation of normals are float32 always.
    """

    def __init__(self, network: nn.Module, amp_type: torch.dtype | None = None):
        super().__init__()
        self._amp_type = amp_type
        self.network = network
        self.weighting = UncertaintyWeighting(network.tasks)

    def forward(self, batch: dict, whole: GlobalBatch = GLOBAL_BATCH) -> dict[str, torch.Tensor]:
        """Losses of a batch (see `datasets.panorama`) in training mode; of its part in the mean over a larger `whole`.

        Returns:
            Scalars: ``total``, to be minimised, and, for each task t, ``t`` and ``intermediate_t``.
        """
        rgb = batch["rgb"]
        with torch.autocast(rgb.device.type, self._amp_type, enabled=self._amp_type is not None):
            predictions = self.network(rgb)
        return self.losses(predictions, batch, whole)

    def losses(self, predictions: dict, batch: dict, whole: GlobalBatch = GLOBAL_BATCH) -> dict[str, torch.Tensor]:
        """As `forward`, from predictions made in training mode."""
        whole.begin()
        tasks = self.network.tasks
        final = {task: TASKS[task].loss(predictions[task].float(), batch, whole) for task in tasks}
        small_size = next(iter(predictions["intermediate"].values())).shape[-2:]
        small_batch = resize_truth(batch, small_size)
        intermediate = {
            task: TASKS[task].loss(predictions["intermediate"][task].float(), small_batch, whole) for task in tasks
        }
        # The intermediate losses are not weighted.
        total = self.weighting(final, whole.share) + sum(loss.value for loss in intermediate.values())
        named = {task: loss.value for task, loss in final.items()}
        named |= {f"intermediate_{task}": loss.value for task, loss in intermediate.items()}
        return {"total": total, **named}


def resize_truth(batch: dict, size: tuple[int, int]) -> dict:
    """Truth and masks of a batch at another (height, width), by nearest neighbour."""

    def resize(maps: torch.Tensor) -> torch.Tensor:
        return F.interpolate(maps.float(), size=size, mode="nearest").to(maps.dtype)

    resized = {key: resize(batch[key]) for key in ("depth", "depth_mask", "normal", "normal_mask")}
    return resized | {"semantic": resize(batch["semantic"][:, None])[:, 0]}
