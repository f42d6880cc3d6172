"""How pixel losses become one number: the sum over the whole batch, all processes', over the count of its pixels."""

from typing import NamedTuple

import torch

from utils.distributed import all_max, all_sum, world_size


class TaskLoss(NamedTuple):
    """Loss of one task over the global batch.

    Attributes:
        value: scalar; its gradient, averaged over the processes as DDP does, is that of the global mean. 0 when the
            batch has no valid pixel of the task.
        num_pixels: scalar tensor, the pixels of all processes that went into it.
    """

    value: torch.Tensor
    num_pixels: torch.Tensor


class GlobalBatch:
    """What a loss must know of the whole batch: that of all processes together.

    Attributes:
        share: of the batch that one forward pass sees, apart from the number of processes.
    """

    share = 1.0

    def begin(self) -> None:
        """Called before the losses of a forward pass."""

    def maximum(self, value: torch.Tensor) -> torch.Tensor:
        """The largest of a scalar over the batch."""
        return all_max(value)

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a scalar over the batch."""
        return all_sum(value)

    def loss_values(self, values: torch.Tensor) -> torch.Tensor:
        """The means over the batch of which `TaskLoss.value` (...) are the shares; no gradient flows through them."""
        return all_sum(values) / world_size()


class AccumulatedBatch(GlobalBatch):
    """A batch that is also cut into pieces: what is known of all is only known after `join`.

    The losses of each piece are asked for several times, in the same order. Before `join` the scalars that they are
    made of are noted down; after it, the same calls give those of the whole batch. The values of losses, which depend
    on these, are noted down next, for those who need them, until `join_values`.
    """

    def __init__(self, num_pieces: int):
        self.share = 1 / num_pieces
        self._noted: list[list[tuple[bool, torch.Tensor]]] = []  # per piece: (is it a maximum, scalar) in order
        self._joint: list[torch.Tensor] | None = None
        self._position = 0
        self._noted_values: list[torch.Tensor] = []  # per piece
        self._joint_values: torch.Tensor | None = None

    def begin(self) -> None:
        self._position = 0
        if self._joint is None:
            self._noted.append([])

    def maximum(self, value: torch.Tensor) -> torch.Tensor:
        return self._note_or_give(True, value)

    def total(self, value: torch.Tensor) -> torch.Tensor:
        return self._note_or_give(False, value)

    def loss_values(self, values: torch.Tensor) -> torch.Tensor:
        if self._joint_values is not None:
            return self._joint_values
        if self._joint is not None:
            self._noted_values.append(values.detach())
        return values.detach()

    def join(self) -> None:
        """Combine what was noted, over pieces and processes."""
        self._joint = []
        for same_scalar in zip(*self._noted, strict=True):
            is_maximum = same_scalar[0][0]
            of_pieces = torch.stack([value for _, value in same_scalar])
            self._joint.append(all_max(of_pieces.max()) if is_maximum else all_sum(of_pieces.sum()))

    def join_values(self) -> None:
        """Combine the values that were noted after `join`, over pieces and processes."""
        self._joint_values = super().loss_values(torch.stack(self._noted_values).sum(dim=0))

    def _note_or_give(self, is_maximum: bool, value: torch.Tensor) -> torch.Tensor:
        if self._joint is None:
            self._noted[-1].append((is_maximum, value.detach()))
            return value.detach()
        self._position += 1
        return self._joint[self._position - 1]


GLOBAL_BATCH = GlobalBatch()


def global_mean(total: torch.Tensor, counted: torch.Tensor, whole: GlobalBatch = GLOBAL_BATCH) -> TaskLoss:
    """Mean of the pixel losses that add up to `total` over the `counted` pixels, and of all others of the whole batch.

    Mean-of-means would give a pixel in a picture full of holes more say than another; here all count the same, and
    several processes give what one with their joint batch gives.
    """
    num_pixels = whole.total(counted.sum().float())
    # DDP averages the gradients of the processes: times their number, so that the average is the sum.
    return TaskLoss(total * world_size() / num_pixels.clamp_min(1), num_pixels)
