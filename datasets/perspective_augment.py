"""Random augmentation of perspective images for training, as in achievement-based training.

Every random number comes from torch's default generator, which `datasets.loading` seeds for each sample.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torchvision.transforms.v2 import functional

from datasets.perspective import PerspectiveImage
from utils.padding import padded_size

_BRIGHTNESS, _HUE = 32 / 255, 18 / 255 * 360  # added; of 1, and in degrees
_FACTORS = 0.5, 1.5  # contrast and saturation are multiplied
_SHARPNESS = 2.0


@dataclass
class PerspectiveAugmentation:
    """Makes a random training image of a given size.

    In this order: padding to the aspect ratio at a random place; with probability 0.5 a random zoom; resizing; with
    probability 0.5 the mirror image; distorted colors.

    Attributes:
        min_scale, max_scale: range of the zoom. By s > 1 the image is padded to s times its size, by s < 1 a window of
            s times its size is taken. Depth is multiplied by s: what looks smaller is farther away.
        flip: mirror with probability 0.5.
        color: see `distort_colors`.
    """

    min_scale: float = 2 / 3
    max_scale: float = 4 / 3
    flip: bool = True
    color: bool = True

    def __call__(self, image: PerspectiveImage, height: int, width: int) -> PerspectiveImage:
        image = _placed_at_random(image, *padded_size(image.size, height, width))
        if _coin():
            image = zoomed(image, _uniform(self.min_scale, self.max_scale))
        image = image.resized(height, width)
        if self.flip and _coin():
            image = image.flipped()
        return replace(image, rgb=distort_colors(image.rgb)) if self.color else image


def zoomed(image: PerspectiveImage, scale: float) -> PerspectiveImage:
    """The image at a random place of a canvas of `scale` times its size (above 1), or a random window (below)."""
    rows, columns = image.size
    height, width = (max(1, int(scale * length + 0.5)) for length in (rows, columns))
    if scale > 1:
        image = _placed_at_random(image, height, width)
    else:
        image = image.cropped(_up_to(rows - height), _up_to(columns - width), height, width)
    return replace(image, depth=image.depth * np.float32(scale))


def distort_colors(rgb: np.ndarray) -> np.ndarray:
    """Colors (H, W, 3) uint8, distorted at random: float32 in about [0, 1].

    Each with probability 0.5: brightness by up to 32/255, clipped; saturation and contrast by 0.5 to 1.5 and hue by up
    to 18/255 of a turn, not clipped, contrast before or after the others; a permutation of the channels; sharpness 2.
    """
    image = rgb.astype(np.float32) / 255
    if _coin():
        image = np.clip(image + np.float32(_uniform(-_BRIGHTNESS, _BRIGHTNESS)), 0, 1)
    contrast_first = _coin()
    contrast = np.float32(_uniform(*_FACTORS) if _coin() else 1)
    image = _distort_hsv(image * contrast) if contrast_first else _distort_hsv(image) * contrast
    if _coin():
        image = image[..., torch.randperm(3).numpy()]
    if _coin():
        tensor = torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0)
        image = functional.adjust_sharpness(tensor, _SHARPNESS).movedim(0, -1).numpy()
    return np.ascontiguousarray(image)


def _distort_hsv(image: np.ndarray) -> np.ndarray:
    """Random saturation and hue of colors (H, W, 3) float32."""
    saturate, turn = _coin(), _coin()
    if not (saturate or turn):
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    if saturate:
        hsv[..., 1] *= np.float32(_uniform(*_FACTORS))
    if turn:
        hsv[..., 0] = (hsv[..., 0] + np.float32(_uniform(-_HUE, _HUE))) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _placed_at_random(image: PerspectiveImage, height: int, width: int) -> PerspectiveImage:
    rows, columns = image.size
    return image.padded(height, width, _up_to(height - rows), _up_to(width - columns))


def _coin() -> bool:
    return bool(torch.rand(()) < 0.5)


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _up_to(most: int) -> int:
    """A whole number from 0 to `most`."""
    return int(torch.randint(most + 1, ()))
