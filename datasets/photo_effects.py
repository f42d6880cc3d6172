"""What cameras, stitching and compression do to images: augmentation for networks that shall see photographs."""

import cv2
import numpy as np

_PROBABILITY = 0.5  # of each effect
_GLARE_LEVEL = 0.75  # of the brightness from which light spreads


def photo_effects(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A panorama (H, W, 3) uint8 as another camera might have taken it: each effect occurs with probability 0.5.

    Exposure, contrast, white balance and saturation; glare around bright areas; blur; the tripod's cap at the lower
    pole; noise; JPEG.
    """
    image = rgb.astype(np.float32) / 255
    for effect in (_expose, _tint, _saturate, _glare, _blur, _cover_pole, _noise):
        if rng.random() < _PROBABILITY:
            image = effect(image, rng)
    codes = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return _compress(codes, rng) if rng.random() < _PROBABILITY else codes


def _expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure, tone curve and contrast."""
    bright = np.clip(image, 0, 1) ** rng.uniform(0.6, 1.7) * rng.uniform(0.7, 1.5)
    return (bright - 0.5) * rng.uniform(0.7, 1.3) + 0.5


def _tint(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another white balance: warm or cold light, green or magenta."""
    warmth, green = rng.uniform(-0.2, 0.2), rng.uniform(-0.08, 0.08)
    return image * np.array([1 + warmth, 1 + green, 1 - warmth], np.float32)


def _saturate(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colors nearer to gray, or farther from it."""
    gray = image.mean(axis=-1, keepdims=True)
    return gray + (image - gray) * np.float32(rng.uniform(0.0, 1.6))


def _glare(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light that spreads from the brightest areas."""
    excess = np.clip(image - _GLARE_LEVEL, 0, None) / (1 - _GLARE_LEVEL)
    return image + rng.uniform(0.1, 0.5) * _blurred(excess, image.shape[0] * rng.uniform(0.01, 0.05))


def _blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, or enlarged from fewer pixels; or sharpened."""
    if rng.random() < 0.3:
        return image + rng.uniform(0.2, 0.8) * (image - _blurred(image, 1.0))
    return _blurred(image, rng.uniform(0.3, 0.9))


def _cover_pole(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The lowest rows in one color, as where a tripod is hidden; or in black, where nothing was seen."""
    rows = max(1, round(image.shape[0] * rng.uniform(0.02, 0.12)))
    covered = image.copy()
    covered[-rows:] = image[-rows:].mean(axis=(0, 1)) if rng.random() < 0.5 else rng.choice([0.0, 0.5, 1.0])
    return covered


def _noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of the sensor."""
    return image + np.float32(rng.uniform(0.005, 0.05)) * rng.standard_normal(image.shape, np.float32)


def _compress(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What JPEG leaves of an image (H, W, 3) uint8."""
    quality = int(rng.integers(30, 95))
    return cv2.imdecode(cv2.imencode(".jpg", codes, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurred across the left and right border of the panorama as well."""
    margin = int(3 * sigma) + 1
    wide = np.concatenate([image[:, -margin:], image, image[:, :margin]], axis=1)
    return cv2.GaussianBlur(wide, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)[:, margin:-margin]
