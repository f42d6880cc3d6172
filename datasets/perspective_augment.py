"""Random augmentation of perspective images for training, as in achievement-based training.

Random numbers come from torch's global generator, which `datasets.loading` seeds for each sample of an epoch.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torchvision.transforms.v2 import functional

from datasets.perspective import PerspectiveImage
from utils.padding import padded_size

_MAX_BRIGHTNESS, _MAX_HUE = 32 / 255, 18 / 255 * 360  # largest shifts: of brightness in [0, 1], of hue in degrees
_FACTORS = 0.5, 1.5  # range of the factors of contrast and saturation
_SHARPNESS = 2.0


@dataclass
class PerspectiveAugmentation:
    """Random augmentation to a given size.

    In this order: padding to the aspect ratio at a random position; with probability 0.5 a random zoom; resizing; with
    probability 0.5 mirroring; color distortion.

    Attributes:
        min_scale, max_scale: range of the zoom. Zooming by s > 1 pads the image to s times its size, by s < 1 crops it
            to s times its size. Depth is multiplied by s, as objects that look smaller are farther away.
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
    """The image at a random position on a canvas of `scale` times its size (above 1), or a random crop (below 1)."""
    rows, columns = image.size
    height, width = (max(1, int(scale * length + 0.5)) for length in (rows, columns))
    if scale > 1:
        image = _placed_at_random(image, height, width)
    else:
        image = image.cropped(_up_to(rows - height), _up_to(columns - width), height, width)
    return replace(image, depth=image.depth * np.float32(scale))


def distort_colors(rgb: np.ndarray) -> np.ndarray:
    """Randomly distort colors (H, W, 3) uint8 to float32 in about [0, 1].

    Each with probability 0.5: brightness shifted by up to 32/255 and clipped; contrast and saturation multiplied by 0.5
    to 1.5 and hue turned by up to 18/255 of a circle, all not clipped, with contrast either before or after the other
    two; channels permuted; sharpness 2.
    """
    image = rgb.astype(np.float32) / 255
    if _coin():
        image = np.clip(image + np.float32(_uniform(-_MAX_BRIGHTNESS, _MAX_BRIGHTNESS)), 0, 1)
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
    change_saturation, change_hue = _coin(), _coin()
    if not (change_saturation or change_hue):
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    if change_saturation:
        hsv[..., 1] *= np.float32(_uniform(*_FACTORS))
    if change_hue:
        hsv[..., 0] = (hsv[..., 0] + np.float32(_uniform(-_MAX_HUE, _MAX_HUE))) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _placed_at_random(image: PerspectiveImage, height: int, width: int) -> PerspectiveImage:
    rows, columns = image.size
    return image.padded(height, width, _up_to(height - rows), _up_to(width - columns))


def _coin() -> bool:
    return bool(torch.rand(()) < 0.5)


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _up_to(largest: int) -> int:
    """A random integer from 0 to `largest`."""
    return int(torch.randint(largest + 1, ()))
