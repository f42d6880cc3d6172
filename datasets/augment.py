"""Augmentation of panoramas that also transforms their normals.

Each step maps a `Panorama` to another. Random numbers come from torch's global generator, which `datasets.loading`
seeds for each sample of an epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from datasets.panorama import Panorama
from datasets.photo_effects import photo_effects
from utils.tasks import MAP_OF_TASK
from utils.views import View

_IMAGES = ("rgb", *MAP_OF_TASK.values())


def roll_yaw(panorama: Panorama, columns: int) -> Panorama:
    """Rotate the panorama about the vertical: pixels move `columns` to the right, normals rotate by the same angle.

    Normals in a world frame keep their values.
    """
    rolled = {name: np.roll(getattr(panorama, name), columns, axis=1) for name in _IMAGES}
    return replace(panorama, **rolled, normal_decoding=_view_normal_decoding(panorama, View(columns)))


def flip_left_right(panorama: Panorama) -> Panorama:
    """Mirror the panorama: columns in reverse order, the x component of the normals negated."""
    flipped = {name: cv2.flip(getattr(panorama, name), 1) for name in _IMAGES}
    return replace(panorama, **flipped, normal_decoding=_view_normal_decoding(panorama, View(0, mirrored=True)))


def _view_normal_decoding(panorama: Panorama, view: View) -> np.ndarray:
    """`Panorama.normal_decoding` of a view."""
    return view.vector_matrix(panorama.depth.shape[1], panorama.normal_frame) @ panorama.normal_decoding


@dataclass
class Augmentation:
    """The paper's random augmentation of training samples, and optionally effects of real photographs.

    Attributes:
        yaw: roll by a random number of columns.
        flip: mirror with probability 0.5.
        color: with probability 0.5 jitter brightness, contrast and saturation by 0.8 to 1.2 and hue by up to 0.1 turns.
        photo: see `datasets.photo_effects`.
    """

    yaw: bool = True
    flip: bool = True
    color: bool = True
    photo: bool = False

    def __post_init__(self):
        self._jitter: Callable = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)

    def __call__(self, panorama: Panorama) -> Panorama:
        if self.yaw:
            panorama = roll_yaw(panorama, int(torch.randint(panorama.depth.shape[1], ())))
        if self.flip and torch.rand(()) < 0.5:
            panorama = flip_left_right(panorama)
        if self.color and torch.rand(()) < 0.5:
            # Torchvision is almost twice as fast on a Pillow image as on a tensor.
            panorama = replace(panorama, rgb=np.array(self._jitter(Image.fromarray(panorama.rgb))))
        if self.photo:
            rng = np.random.default_rng(int(torch.randint(2**31, ())))
            panorama = replace(panorama, rgb=photo_effects(panorama.rgb, rng))
        return panorama
