"""Base class of all datasets: samples of one size, sent between processes in compact form and decoded on a device."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.classes import SemanticClasses
from utils.tasks import TASK_NAMES


class ImageDataset(Dataset, ABC):
    """Images with ground truth. Subclasses define how an image is read, packed and unpacked.

    Args:
        height, width: H x W of the samples.
        augment: random augmentation, for training.
        tasks: names of the tasks whose ground truth is needed; the ground truth of other tasks may be missing.

    Attributes:
        classes: semantic classes.
        depth_unit: unit of depth, in words.
        normal_frame: "camera" or "world".
        noun: "images" or "panoramas", for messages.
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
        """Read an image with its ground truth, at the size of its files."""

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
        """Number of samples and hash of their names; equal if the samples and their order are equal."""
        digest = hashlib.sha256("\n".join(self.sample_names()).encode("utf-8", "surrogateescape")).hexdigest()
        return f"{len(self)} {self.noun} (sha256 {digest[:16]})"

    def __getitem__(self, index: int) -> dict:
        return self.unpack(self.packed(index))


def on_device(array: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """The array as a tensor on a device. Copies to a GPU use pinned memory, to overlap with computation."""
    tensor = torch.as_tensor(array)
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def channels_first(image: torch.Tensor) -> torch.Tensor:
    """(..., H, W, C) to (..., C, H, W), contiguous."""
    return image.movedim(-1, -3).contiguous()
