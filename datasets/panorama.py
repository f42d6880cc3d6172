"""The one sample contract of all datasets: read, resize, check, augment.

Whatever the disk holds, `dataset[index]` is a dict with

=============== ========================== ==========================================================================
key             shape, type                meaning
=============== ========================== ==========================================================================
``rgb``         (3, H, W) float32          colours in [0, 1]
``depth``       (1, H, W) float32          metres along the ray
``normal``      (3, H, W) float32          unit vectors in the camera frame (x right, y down, z forward), pointing
                                           towards the camera
``semantic``    (H, W) int64               class labels, -1 = ignore
``depth_mask``  (1, H, W) bool             0 < depth <= 10 m
``normal_mask`` (1, H, W) bool             where the normal is known
``id``          str                        names the sample: the relative path of its RGB image, or the like
``index``       int                        its place in the dataset
=============== ========================== ==========================================================================
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from datasets.classes import SemanticClasses
from utils.tasks import MAX_DEPTH


@dataclass
class Panorama:
    """One panorama with its ground truth as NumPy arrays, at whatever size it is stored (H x W, W = 2H).

    Attributes:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32, metres along the ray; anything not finite or not above 0 is missing.
        normal: (H, W, 3) float32, unit vectors in the camera frame towards the camera; (0, 0, 0) is missing.
        semantic: (H, W) integers, -1 = ignore.
        id: names the sample.
    """

    rgb: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    semantic: np.ndarray
    id: str

    def resized(self, height: int, width: int) -> "Panorama":
        """The panorama at another size: colours averaged by area, everything else taken from the nearest pixel."""
        if self.depth.shape == (height, width):
            return self

        # Depth, normals and labels must not be mixed across an edge, nor with missing pixels: nearest for all three.
        def nearest(array: np.ndarray) -> np.ndarray:
            return cv2.resize(array, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

        return Panorama(
            rgb=resize_rgb(self.rgb, height, width),
            depth=nearest(self.depth),
            normal=nearest(self.normal),
            semantic=nearest(self.semantic.astype(np.int16)),
            id=self.id,
        )


def resize_rgb(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Colours (H, W, 3) uint8 at another size: averaged by area when shrinking, bilinear when enlarging."""
    if rgb.shape[:2] == (height, width):
        return rgb
    shrinks = height < rgb.shape[0]
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


class PanoramaDataset(Dataset, ABC):
    """A dataset of panoramas at one size. A concrete dataset says how many there are and how one is read.

    Args:
        height, width: H x W of the samples, W = 2H.
        augment: changes a finished sample, see `datasets.augment`; None leaves it alone.
    """

    classes: SemanticClasses

    def __init__(self, height: int, width: int, augment: Callable[[dict], dict] | None = None):
        self.height = height
        self.width = width
        self.augment = augment

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> Panorama:
        """The panorama of this index with its truth, at the size in which it is stored."""

    def __getitem__(self, index: int) -> dict:
        panorama = self.read(index).resized(self.height, self.width)
        sample = to_sample(panorama) | {"index": index}
        return self.augment(sample) if self.augment else sample


def to_sample(panorama: Panorama) -> dict:
    """The tensors of the contract above (all but ``index``); missing depth and normals become 0."""
    known = np.isfinite(panorama.depth) & (panorama.depth > 0)
    depth = np.where(known, panorama.depth, 0).astype(np.float32)[None]
    normal = panorama.normal.astype(np.float32).transpose(2, 0, 1)
    return {
        "rgb": torch.from_numpy(panorama.rgb.transpose(2, 0, 1).astype(np.float32) / 255),
        "depth": torch.from_numpy(depth),
        "normal": torch.from_numpy(np.ascontiguousarray(normal)),
        "semantic": torch.from_numpy(panorama.semantic.astype(np.int64)),
        "depth_mask": torch.from_numpy((depth > 0) & (depth <= MAX_DEPTH)),
        "normal_mask": torch.from_numpy((normal**2).sum(0, keepdims=True) > 0.25),
        "id": panorama.id,
    }
