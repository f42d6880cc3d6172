"""Builds networks and training objectives."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from losses.balancing.base import Balancing
from losses.balancing.uncertainty import UncertaintyWeighting
from networks.checkpoint import Checkpoint, ModelSettings, open_checkpoint
from tasks import TASKS
from tasks.task import Task
from training.objective import LossTerm, TrainingObjective
from utils.distributed import is_main


def build_objective(
    network: nn.Module,
    balancing: Balancing | None = None,
    amp_type: torch.dtype | None = None,
    tasks: Mapping[str, Task] = TASKS,
    teachers: Mapping[str, nn.Module] = MappingProxyType({}),
) -> TrainingObjective:
    """A network with the losses of its tasks, by default balanced as in Elite360M's paper; see `TrainingObjective`."""
    if balancing is None:
        balancing = UncertaintyWeighting(network.tasks, loss_weights(network.tasks))
    terms = {
        task: LossTerm(tasks[task].loss, tasks[task].valid_mask, tasks[task].pseudo_loss) for task in network.tasks
    }
    return TrainingObjective(network, terms, balancing, resize_targets, amp_type, teachers)


def loss_weights(tasks: tuple[str, ...]) -> Mapping[str, float]:
    """Loss weights of the released code, by task."""
    return {task: TASKS[task].loss_weight for task in tasks}


def resize_targets(batch: dict, size: tuple[int, int]) -> dict:
    """Ground truth and masks of a batch, resized to (height, width) by nearest neighbor."""

    def resize(maps: torch.Tensor) -> torch.Tensor:
        values = maps if maps.is_floating_point() else maps.float()  # masks and labels
        return F.interpolate(values, size=size, mode="nearest").to(maps.dtype)

    resized = {key: resize(batch[key]) for key in ("depth", "depth_mask", "normal", "normal_mask")}
    return resized | {"semantic": resize(batch["semantic"][:, None])[:, 0]}


def network_from(path: str, run: Path, settings: ModelSettings) -> tuple[nn.Module, Checkpoint]:
    """A network with these settings, initialized from a checkpoint.

    Prints differences in meaning, and which parts are new or unused because of other tasks or classes.

    Args:
        path: the user's path.
        run: relative path of the run to choose if there are several below `path`.
        settings: settings of the network.

    Raises:
        UserError: when the weights cannot be loaded or belong to another architecture.
    """
    checkpoint = open_checkpoint(path, run)
    checkpoint.require_same_architecture(settings)
    network = settings.build_network()
    differences = checkpoint.differences(settings) + checkpoint.load_into(network, settings)
    if is_main():
        for difference in differences:
            print(difference)
    return network, checkpoint
