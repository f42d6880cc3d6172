"""Pictures as people have them, made into colours for the network."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from utils.errors import UserError
from utils.images import ImageFile


def as_rgb(image: np.ndarray | Image.Image | str | Path) -> np.ndarray:
    """A file, a Pillow image or an array as (H, W, 3) uint8, turned upright; see `PanoramaModel.predict`.

    Raises:
        UserError: when a file cannot be read.
        ValueError: when an array has another shape, type or range.
    """
    if isinstance(image, str | Path):
        return ImageFile(Path(image)).rgb()
    if isinstance(image, Image.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    return _array_as_rgb(image)


def require_panorama(rgb: np.ndarray, name: str | Path) -> None:
    """Make sure that a picture is a full panorama.

    Raises:
        UserError: when it is not twice as wide as high.
    """
    height, width = rgb.shape[:2]
    if width != 2 * height:
        raise UserError(f"{name} is {width}x{height}: a full panorama is twice as wide as high")


def _array_as_rgb(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ValueError(f"a picture is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.shape}")
    colours = np.broadcast_to(array[..., :3], (*array.shape[:2], 3))
    if colours.dtype == np.uint16:
        colours = np.rint(colours / 257)
    elif np.issubdtype(colours.dtype, np.floating):
        if not (colours.min() >= 0 and colours.max() <= 1):  # so that NaN is refused as well
            raise ValueError("a picture of floats has values from 0 to 1")
        colours = np.rint(colours * 255)
    elif colours.dtype != np.uint8:
        raise ValueError(f"a picture is of uint8, uint16 or floats, got {colours.dtype}")
    return np.ascontiguousarray(colours, dtype=np.uint8)
