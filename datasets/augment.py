"""Augmentation that moves vectors with the pixels they belong to.

Each step takes a sample (see `datasets.panorama`) and gives another. Randomness comes from torch's global generator,
which the DataLoader seeds differently in every worker.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torchvision.transforms import v2

from utils.sphere import yaw_rotation

_MAPS = ("rgb", "depth", "normal", "semantic", "depth_mask", "normal_mask")  # everything with a last axis of columns


def roll_yaw(sample: dict, columns: int) -> dict:
    """Turn the panorama about the vertical: pixels move `columns` to the right, normals turn by the same angle."""
    width = sample["rgb"].shape[-1]
    rolled = sample | {key: sample[key].roll(columns, dims=-1) for key in _MAPS}
    rotation = torch.tensor(yaw_rotation(2 * math.pi * columns / width), dtype=sample["normal"].dtype)
    return rolled | {"normal": torch.einsum("ij,jhw->ihw", rotation, rolled["normal"])}


def flip_left_right(sample: dict) -> dict:
    """Mirror the panorama: columns in reverse order, the x component of the normals negated."""
    flipped = sample | {key: sample[key].flip(-1) for key in _MAPS}
    mirror = torch.tensor([-1.0, 1.0, 1.0], dtype=sample["normal"].dtype)[:, None, None]
    return flipped | {"normal": flipped["normal"] * mirror}


@dataclass
class Augmentation:
    """The paper's random augmentation of training samples.

    Attributes:
        yaw: turn by a random number of columns.
        flip: mirror with probability 0.5.
        colour: with probability 0.5 jitter brightness, contrast and saturation by 0.8 to 1.2 and hue by 0.1 of a turn.
    """

    yaw: bool = True
    flip: bool = True
    colour: bool = True

    def __post_init__(self):
        self._jitter: Callable = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)

    def __call__(self, sample: dict) -> dict:
        if self.yaw:
            sample = roll_yaw(sample, int(torch.randint(sample["rgb"].shape[-1], ())))
        if self.flip and torch.rand(()) < 0.5:
            sample = flip_left_right(sample)
        if self.colour and torch.rand(()) < 0.5:
            sample = sample | {"rgb": self._jitter(sample["rgb"])}
        return sample
