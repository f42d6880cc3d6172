"""The training objective: a network, the losses of its tasks, and their balancing."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import nn

from losses.balancing.base import Balancing, task_loss
from losses.reduction import LossSum, MeanLoss, global_means
from utils.distributed import all_sum
from utils.precision import at_least_float32


class MultiTaskNetwork(Protocol):
    """Interface of the networks that can be trained, which are `nn.Module`s.

    Attributes:
        tasks: task names, in the order of the balancing method.
        last_shared_weight: weight of the last layer that all tasks depend on before their branches begin.
    """

    tasks: tuple[str, ...]
    last_shared_weight: nn.Parameter

    def __call__(self, rgb: torch.Tensor) -> dict:
        """A prediction per task for images (B, 3, H, W), as a dict.

        In training mode the dict may have one more key, ``intermediate``, a dict of further predictions per task:
        iterate over `tasks`, not over its keys.
        """

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        """Parameters with a gradient from the losses of this task only."""

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters with gradients from the losses of several tasks."""


class LossTerm(NamedTuple):
    """The loss of a task.

    Attributes:
        loss: called with a prediction and a batch with ground truth of the same size; logits may be smaller.
        valid_mask: called with a batch; returns a boolean tensor (B, ...), true where there is ground truth.
        pseudo_loss: called with a prediction, the prediction of a teacher and a mask (B,) of the images to compare;
            None: teachers are not supported.
    """

    loss: Callable[[torch.Tensor, dict], LossSum]
    valid_mask: Callable[[dict], torch.Tensor]
    pseudo_loss: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], LossSum] | None = None


class TrainingObjective(nn.Module):
    """The network and its losses as one module: a batch in, losses out.

    DistributedDataParallel wraps it as a whole, while `network` stays accessible unwrapped.

    Args:
        network: see `MultiTaskNetwork`.
        terms: the loss of each task.
        balancing: balancing method for the tasks of the network.
        resize_targets: resizes the ground truth of a batch to (height, width), for intermediate predictions.
        amp_type: type for autocast; None: float32 throughout. Losses, softmaxes and the normalization of normals are
            always in float32.
        teachers: trained networks by task, on the device and in eval mode. Their predictions replace the ground truth
            in images that have none for the task. They are not part of the module: neither trained nor saved with it.

    Attributes:
        has_pixels: (T,) bool, whether any pixel of this step's batches so far, in any process, counts in the loss of
            each task; None before the first batch.
    """

    def __init__(
        self,
        network: nn.Module,
        terms: Mapping[str, LossTerm],
        balancing: Balancing,
        resize_targets: Callable[[dict, tuple[int, int]], dict] | None = None,
        amp_type: torch.dtype | None = None,
        teachers: Mapping[str, nn.Module] = MappingProxyType({}),
    ):
        super().__init__()
        self._terms = terms
        self._resize_targets = resize_targets
        self._amp_type = amp_type
        self._teachers = dict(teachers)
        self.network = network
        self.balancing = balancing
        self.has_pixels: torch.Tensor | None = None

    def begin_step(self, batches: list[dict]) -> list[torch.Tensor | None]:
        """Prepare for an optimizer step with one or more batches.

        Returns:
            For each batch, the fraction (T,) of the step's labeled pixels that it contains, to be passed to `forward`,
            so that all pixels of a step have the same weight; None for a single batch.
        """
        self.has_pixels = None
        self.balancing.begin_step()
        if len(batches) == 1:
            return [None]
        masks = [[self._terms[task].valid_mask(batch) for task in self.network.tasks] for batch in batches]
        counts = torch.stack([torch.stack([mask.sum() for mask in of_batch]) for of_batch in masks])  # (M, T)
        counts = all_sum(counts.float())
        return list(counts / counts.sum(dim=0).clamp_min(1))

    def forward(self, batch: dict, fractions: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Losses of a batch in training mode.

        Args:
            batch: ``rgb`` (B, 3, H, W) and the ground truth.
            fractions: see `begin_step`.

        Returns:
            Scalars: ``total``, to be minimized, and, for each task t, ``t`` and, if the network has intermediate heads,
            ``intermediate_t``. Those of the batches of a step add up to the losses of the step.
        """
        rgb = batch["rgb"]
        with torch.autocast(rgb.device.type, self._amp_type, enabled=self._amp_type is not None):
            predictions = self.network(rgb)
            with torch.no_grad():
                pseudo_labels = {task: teacher(rgb)[task] for task, teacher in self._teachers.items()}
        return self.losses_of(predictions, batch, fractions, pseudo_labels)

    def losses_of(
        self,
        predictions: dict,
        batch: dict,
        fractions: torch.Tensor | None = None,
        pseudo_labels: Mapping[str, torch.Tensor] = MappingProxyType({}),
    ) -> dict[str, torch.Tensor]:
        """The losses of `forward`, given the predictions of the network in training mode and of the teachers."""
        tasks = self.network.tasks
        final_sums = {task: self._loss_sum(task, predictions, batch) for task in tasks}
        intermediate_sums = {}
        if small_predictions := predictions.get("intermediate"):
            small_batch = self._resize_targets(batch, next(iter(small_predictions.values())).shape[-2:])
            intermediate_sums = {task: self._loss_sum(task, small_predictions, small_batch) for task in tasks}
        pseudo_sums = {task: self._pseudo_loss_sum(task, predictions, pseudo_labels, batch) for task in pseudo_labels}

        means = global_means([*final_sums.values(), *intermediate_sums.values(), *pseudo_sums.values()])
        end_of_final, end_of_intermediate = len(final_sums), len(final_sums) + len(intermediate_sums)
        final = dict(zip(final_sums, means[:end_of_final], strict=True))
        intermediate = dict(zip(intermediate_sums, means[end_of_final:end_of_intermediate], strict=True))
        pseudo = dict(zip(pseudo_sums, means[end_of_intermediate:], strict=True))
        for task, loss in pseudo.items():
            final[task] = MeanLoss(final[task].value + loss.value, final[task].num_pixels + loss.num_pixels)

        num_pixels = [sum(some[task].num_pixels for some in (final, intermediate) if some) for task in tasks]
        has_pixels = torch.stack(num_pixels) > 0
        self.has_pixels = has_pixels if self.has_pixels is None else self.has_pixels | has_pixels
        if fractions is None:
            fractions = final[tasks[0]].value.new_ones(len(tasks))
        total = self.balancing(final, intermediate, fractions)
        named = {}
        for task, fraction in zip(tasks, fractions, strict=True):
            named[task] = fraction * final[task].value
            if task in intermediate:
                named[f"intermediate_{task}"] = fraction * intermediate[task].value
        return {"total": total, **named}

    def _loss_sum(self, task: str, predictions: dict, batch: dict) -> LossSum:
        """Loss against the ground truth."""
        return self._terms[task].loss(at_least_float32(predictions[task]), batch)

    def _pseudo_loss_sum(
        self, task: str, predictions: dict, pseudo_labels: Mapping[str, torch.Tensor], batch: dict
    ) -> LossSum:
        """Loss against the predictions of a teacher, in images without ground truth."""
        term = self._terms[task]
        unlabeled = ~term.valid_mask(batch).flatten(1).any(dim=1)
        return term.pseudo_loss(at_least_float32(predictions[task]), at_least_float32(pseudo_labels[task]), unlabeled)


def task_losses(losses: dict[str, torch.Tensor], tasks: tuple[str, ...]) -> list[torch.Tensor]:
    """The loss L_t of each task, which is balanced, from the losses that `TrainingObjective` returns."""
    return [task_loss(losses[task], losses.get(f"intermediate_{task}")) for task in tasks]
