"""Effects of cameras, stitching and compression: augmentation for networks that are applied to photographs."""

import cv2
import numpy as np

_PROBABILITY = 0.5  # of each effect
_GLARE_LEVEL = 0.75  # brightness above which light spreads


def photo_effects(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A panorama (H, W, 3) uint8 as another camera might have taken it.

    Each effect has probability 0.5: exposure and contrast; white balance; saturation; glare around bright areas; blur
    or sharpening; a cap over the tripod at the lower pole; noise; JPEG compression.
    """
    image = rgb.astype(np.float32) / 255
    for effect in (_expose, _tint, _saturate, _glare, _blur, _cover_pole, _noise):
        if rng.random() < _PROBABILITY:
            image = effect(image, rng)
    codes = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return _compress(codes, rng) if rng.random() < _PROBABILITY else codes


def _expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change exposure, tone curve and contrast."""
    bright = np.clip(image, 0, 1) ** rng.uniform(0.6, 1.7) * rng.uniform(0.7, 1.5)
    return (bright - 0.5) * rng.uniform(0.7, 1.3) + 0.5


def _tint(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the white balance: toward warm or cold, green or magenta."""
    warmth, green = rng.uniform(-0.2, 0.2), rng.uniform(-0.08, 0.08)
    return image * np.array([1 + warmth, 1 + green, 1 - warmth], np.float32)


def _saturate(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move colors toward gray or away from it."""
    gray = image.mean(axis=-1, keepdims=True)
    return gray + (image - gray) * np.float32(rng.uniform(0.0, 1.6))


def _glare(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Spread light from the brightest areas."""
    excess = np.clip(image - _GLARE_LEVEL, 0, None) / (1 - _GLARE_LEVEL)
    return image + rng.uniform(0.1, 0.5) * _blurred(excess, image.shape[0] * rng.uniform(0.01, 0.05))


def _blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur as if out of focus or upsampled; or sharpen."""
    if rng.random() < 0.3:
        return image + rng.uniform(0.2, 0.8) * (image - _blurred(image, 1.0))
    return _blurred(image, rng.uniform(0.3, 0.9))


def _cover_pole(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cover the lowest rows with their mean color, as a tripod cap does, or with black, gray or white."""
    rows = max(1, round(image.shape[0] * rng.uniform(0.02, 0.12)))
    covered = image.copy()
    covered[-rows:] = image[-rows:].mean(axis=(0, 1)) if rng.random() < 0.5 else rng.choice([0.0, 0.5, 1.0])
    return covered


def _noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add sensor noise."""
    return image + np.float32(rng.uniform(0.005, 0.05)) * rng.standard_normal(image.shape, np.float32)


def _compress(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compress an image (H, W, 3) uint8 as JPEG and decode it."""
    quality = int(rng.integers(30, 95))
    return cv2.imdecode(cv2.imencode(".jpg", codes, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur that wraps around at the left and right border of the panorama."""
    margin = int(3 * sigma) + 1
    wide = np.concatenate([image[:, -margin:], image, image[:, :margin]], axis=1)
    return cv2.GaussianBlur(wide, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)[:, margin:-margin]
