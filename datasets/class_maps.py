"""Merging semantic classes to coarser ones, for evaluation."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch

from datasets import CLASS_MAPS
from datasets.classes import SemanticClasses
from datasets.nyuv2_classes import LABELS_13_OF_40, NYUV2_13
from datasets.structured3d import KEPT_CLASSES
from utils.batches import ChangedBatches
from utils.errors import UserError
from utils.tasks import IGNORE_LABEL

(NYU13,) = CLASS_MAPS


@dataclass(frozen=True)
class ClassMap:
    """A map from the K classes of a dataset to M coarser ones.

    Attributes:
        classes: the coarser classes, some of which may not occur.
        labels: (K,) the coarser label of each label of the dataset.
    """

    classes: SemanticClasses
    labels: tuple[int, ...]

    def merge_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Coarser labels of labels of any shape; -1 = ignore in both."""
        table = _tensor((*self.labels, IGNORE_LABEL), labels.device)
        return table[labels]

    def merge_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits (B, M, H, W) from logits (B, K, H, W): the maximum over each coarser class; for classes that do not
        occur, the lowest finite number. The most likely class is thus the merged most likely class.
        """
        lowest = torch.finfo(logits.dtype).min
        merged = logits.new_full((len(logits), len(self.classes), *logits.shape[2:]), lowest)
        index = _tensor(self.labels, logits.device)[None, :, None, None].expand_as(logits)
        return merged.scatter_reduce_(1, index, logits, "amax")


class MergedBatches(ChangedBatches):
    """Batches with labels merged to coarser classes; see `datasets.panorama` for the keys."""

    def __init__(self, batches: Iterable[dict], class_map: ClassMap):
        super().__init__(batches)
        self._class_map = class_map

    def change(self, batch: dict) -> dict:
        return batch | {"semantic": self._class_map.merge_labels(batch["semantic"])}


def find_class_map(name: str, dataset: str) -> ClassMap:
    """The map from the classes of a dataset to coarser ones.

    Args:
        name: value of --classes.
        dataset: value of --dataset.

    Raises:
        UserError: when there is no such map.
    """
    if (name, dataset) == (NYU13, "Struc3D"):
        return ClassMap(NYUV2_13, tuple(int(LABELS_13_OF_40[id_ - 1]) for id_ in KEPT_CLASSES))
    raise UserError(f"--classes {name} is for --dataset Struc3D: drop it for {dataset}")


@lru_cache(maxsize=16)
def _tensor(values: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor(values, device=device)
