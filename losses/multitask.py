"""From a batch to the one number that is minimised: the network, the losses of its tasks, and their balancing."""

import torch
import torch.nn.functional as F
from torch import nn

from losses.balancing.base import Balancing, joint_loss
from losses.balancing.uncertainty import UncertaintyWeighting
from losses.reduction import GLOBAL_BATCH, GlobalBatch
from tasks import TASKS
from utils.precision import at_least_float32


class TrainingObjective(nn.Module):
    """The network and its losses as one module: a batch in, losses out.

    Being one module, it can be handed to DistributedDataParallel whole, while `network` stays at hand as it is.

    Args:
        network: an `Elite360M`.
        balancing: for the tasks of the network; `UncertaintyWeighting`, the paper's, if not given.
        amp_type: type that the network computes in where that is safe; None is float32 throughout. Losses, softmaxes
            and the normalisation of normals are float32 always.

    Attributes:
        labelled: whether the last batch had labels, over all of it and all processes, (T,) bool.
    """

    def __init__(self, network: nn.Module, balancing: Balancing | None = None, amp_type: torch.dtype | None = None):
        super().__init__()
        self._amp_type = amp_type
        self.network = network
        self.balancing = balancing or UncertaintyWeighting(network.tasks)
        self.labelled = torch.ones(len(network.tasks), dtype=torch.bool)

    def forward(self, batch: dict, whole: GlobalBatch = GLOBAL_BATCH) -> dict[str, torch.Tensor]:
        """Losses of a batch (see `datasets.panorama`) in training mode; of its part in the mean over a larger `whole`.

        Returns:
            Scalars: ``total``, to be minimised, and, for each task t, ``t`` and, if the network has intermediate heads,
            ``intermediate_t``.
        """
        return self.losses(self.predict(batch), batch, whole)

    def predict(self, batch: dict) -> dict:
        """What the network makes of a batch in training mode."""
        rgb = batch["rgb"]
        with torch.autocast(rgb.device.type, self._amp_type, enabled=self._amp_type is not None):
            return self.network(rgb)

    def losses(self, predictions: dict, batch: dict, whole: GlobalBatch = GLOBAL_BATCH) -> dict[str, torch.Tensor]:
        """As `forward`, from predictions made in training mode."""
        whole.begin()
        final = {
            task: TASKS[task].loss(at_least_float32(predictions[task]), batch, whole) for task in self.network.tasks
        }
        intermediate = {}
        if small_predictions := predictions["intermediate"]:
            small_batch = resize_truth(batch, next(iter(small_predictions.values())).shape[-2:])
            intermediate = {
                task: TASKS[task].loss(at_least_float32(prediction), small_batch, whole)
                for task, prediction in small_predictions.items()
            }
        self.labelled = torch.stack(
            [sum(some[task].num_pixels for some in (final, intermediate) if some) > 0 for task in self.network.tasks]
        )
        total = self.balancing(final, intermediate, whole)
        named = {task: loss.value for task, loss in final.items()}
        named |= {f"intermediate_{task}": loss.value for task, loss in intermediate.items()}
        return {"total": total, **named}


def joint_losses(losses: dict[str, torch.Tensor], tasks: tuple[str, ...]) -> list[torch.Tensor]:
    """L_t of each task, the loss that is balanced, from what `TrainingObjective` returns."""
    return [joint_loss(losses[task], losses.get(f"intermediate_{task}")) for task in tasks]


def resize_truth(batch: dict, size: tuple[int, int]) -> dict:
    """Truth and masks of a batch at another (height, width), by nearest neighbour."""

    def resize(maps: torch.Tensor) -> torch.Tensor:
        numbers = maps if maps.is_floating_point() else maps.float()  # masks and labels
        return F.interpolate(numbers, size=size, mode="nearest").to(maps.dtype)

    resized = {key: resize(batch[key]) for key in ("depth", "depth_mask", "normal", "normal_mask")}
    return resized | {"semantic": resize(batch["semantic"][:, None])[:, 0]}
