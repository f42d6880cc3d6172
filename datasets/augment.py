"""Augmentation that moves vectors with the pixels they belong to.

Each step takes a `Panorama` and gives another. Randomness comes from torch's global generator; in training it is seeded
for each sample of each epoch (see `datasets.loading`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from datasets.panorama import Panorama
from utils.views import View

_MAPS = ("rgb", "depth", "normal", "semantic")


def roll_yaw(panorama: Panorama, columns: int) -> Panorama:
    """Turn the panorama about the vertical: pixels move `columns` to the right, normals turn by the same angle.

    Normals in a world frame stay as they are: the camera turns, the building does not.
    """
    rolled = {name: np.roll(getattr(panorama, name), columns, axis=1) for name in _MAPS}
    return replace(panorama, **rolled, normal_map=_turned_normals(panorama, View(columns)))


def flip_left_right(panorama: Panorama) -> Panorama:
    """Mirror the panorama: columns in reverse order, the x component of the normals negated."""
    flipped = {name: cv2.flip(getattr(panorama, name), 1) for name in _MAPS}
    return replace(panorama, **flipped, normal_map=_turned_normals(panorama, View(0, mirrored=True)))


def _turned_normals(panorama: Panorama, view: View) -> np.ndarray:
    """What decodes the normals of the panorama into those of a view."""
    return view.vector_matrix(panorama.depth.shape[1], panorama.normal_frame) @ panorama.normal_map


@dataclass
class Augmentation:
    """The paper's random augmentation of training samples.

    Attributes:
        yaw: turn by a random number of columns.
        flip: mirror with probability 0.5.
        color: with probability 0.5 jitter brightness, contrast and saturation by 0.8 to 1.2 and hue by 0.1 of a turn.
    """

    yaw: bool = True
    flip: bool = True
    color: bool = True

    def __post_init__(self):
        self._jitter: Callable = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)

    def __call__(self, panorama: Panorama) -> Panorama:
        if self.yaw:
            panorama = roll_yaw(panorama, int(torch.randint(panorama.depth.shape[1], ())))
        if self.flip and torch.rand(()) < 0.5:
            panorama = flip_left_right(panorama)
        if self.color and torch.rand(()) < 0.5:
            # On a Pillow image torchvision takes little more than half the time that it takes on a tensor.
            panorama = replace(panorama, rgb=np.array(self._jitter(Image.fromarray(panorama.rgb))))
        return panorama
