"""Predictors that do not look at the picture. A network that does not clearly beat them has learnt nothing."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
import torch.nn.functional as F

from utils.distributed import gather_objects
from utils.sphere import icosphere
from utils.tasks import IGNORE_LABEL

_NORMAL_CANDIDATES = 3  # icosphere level: 642 directions, about 8 degrees apart


class ConstantPrediction(ABC):
    """The best constant prediction of one task for a set of truths.

    Knowing the truth that it will be judged by, it is a little better than any constant that could be learnt.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes

    @abstractmethod
    def add(self, batch: dict) -> None:
        """Take the truth of a batch into account (see `datasets.panorama`)."""

    @abstractmethod
    def value(self) -> torch.Tensor:
        """The constant (.,) that is best for all batches of all processes: one prediction's channels at a pixel."""


class ConstantDepth(ConstantPrediction):
    """The mean depth in metres, (1,): of all constants it has the lowest root mean square error."""

    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        self._sum = torch.zeros((), dtype=torch.float64)
        self._count = torch.zeros((), dtype=torch.float64)

    def add(self, batch: dict) -> None:
        depth = batch["depth"][batch["depth_mask"]].double().cpu()
        self._sum += depth.sum()
        self._count += len(depth)

    def value(self) -> torch.Tensor:
        return (_over_processes(self._sum) / _over_processes(self._count).clamp_min(1)).float()[None]


class ConstantNormal(ConstantPrediction):
    """Of many directions that with the lowest mean angle, (3,)."""

    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        self._candidates = torch.tensor(icosphere(_NORMAL_CANDIDATES)[0])  # (V, 3)
        self._angle_sums = torch.zeros(len(self._candidates), dtype=torch.float64)

    def add(self, batch: dict) -> None:
        # Every fourth row and column: a constant has nothing to gain from the others.
        known = batch["normal_mask"][:, 0, ::4, ::4]
        normal = batch["normal"].movedim(1, -1)[:, ::4, ::4][known].cpu()
        self._angle_sums += (self._candidates @ normal.double().T).clamp(-1, 1).arccos().sum(dim=1)

    def value(self) -> torch.Tensor:
        return self._candidates[_over_processes(self._angle_sums).argmin()].float()


class MajorityClass(ConstantPrediction):
    """Logits (K,) in favour of the most frequent class."""

    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        self._counts = torch.zeros(num_classes, dtype=torch.int64)

    def add(self, batch: dict) -> None:
        labels = batch["semantic"][batch["semantic"] != IGNORE_LABEL].cpu()
        self._counts += torch.bincount(labels, minlength=self.num_classes)

    def value(self) -> torch.Tensor:
        return F.one_hot(_over_processes(self._counts).argmax(), self.num_classes).float()


class TrivialPredictor:
    """Predicts the same for every panorama.

    Args:
        constants: of each task.
    """

    def __init__(self, constants: dict[str, ConstantPrediction]):
        self._constants = constants
        self.values: dict[str, torch.Tensor] = {}  # of each task, once fitted

    def fit(self, batches: Iterable[dict]) -> "TrivialPredictor":
        """Find the constants for these truths and those of the other processes; returns itself."""
        for batch in batches:
            for constant in self._constants.values():
                constant.add(batch)
        self.values = {task: constant.value() for task, constant in self._constants.items()}
        return self

    def __call__(self, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        """The same predictions for any panoramas (B, 3, H, W)."""
        batch, _, height, width = rgb.shape
        return {
            task: value.to(rgb.device)[None, :, None, None].expand(batch, -1, height, width)
            for task, value in self.values.items()
        }


def _over_processes(total: torch.Tensor) -> torch.Tensor:
    return sum(gather_objects(total))
