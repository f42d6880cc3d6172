"""The base class of all datasets: samples of one size that travel as they are stored and are decoded on a device."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.classes import SemanticClasses
from utils.tasks import TASK_NAMES


class ImageDataset(Dataset, ABC):
    """Images with ground truth, panoramas or perspective ones. Subclasses define how one is read, packed and unpacked.

    Args:
        height, width: H x W of the samples.
        augment: makes a random training image of a stored one; None: none.
        tasks: names of the tasks whose ground truth is needed; that of others may be missing in the samples.

    Attributes:
        classes: of the labels.
        depth_unit: unit of depth, in words.
        normal_frame: "camera" or "world".
        noun: what the samples are called.
    """

    classes: SemanticClasses
    depth_unit: str
    normal_frame: str = "camera"
    noun: str = "images"

    def __init__(self, height: int, width: int, augment: Callable | None = None, tasks: tuple[str, ...] = TASK_NAMES):
        self.height = height
        self.width = width
        self.augment = augment
        self.tasks = tuple(tasks)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> object:
        """Read an image with its ground truth, at the stored size."""

    @abstractmethod
    def sample_names(self) -> Iterable[str]:
        """Names of all samples, in order: ids, or the paths of their files."""

    @abstractmethod
    def packed(self, index: int) -> dict:
        """The sample after reading, resizing and augmentation, as arrays that can be stacked; not decoded yet."""

    @staticmethod
    @abstractmethod
    def unpack(packed: dict, device: torch.device | str = "cpu") -> dict:
        """Decode one packed sample, or a batch of them, on a device."""

    def fingerprint(self) -> str:
        """Number of samples and hash of their names: equal for datasets with the same samples in the same order."""
        digest = hashlib.sha256("\n".join(self.sample_names()).encode("utf-8", "surrogateescape")).hexdigest()
        return f"{len(self)} {self.noun} (sha256 {digest[:16]})"

    def __getitem__(self, index: int) -> dict:
        return self.unpack(self.packed(index))


def on_device(array: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """The array as a tensor. Copies to a GPU are from pinned memory, so that they overlap with computation."""
    tensor = torch.as_tensor(array)
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def channels_first(image: torch.Tensor) -> torch.Tensor:
    """(..., H, W, C) to (..., C, H, W), contiguous."""
    return image.movedim(-1, -3).contiguous()
