"""Reading panoramas."""

from pathlib import Path

import cv2
import numpy as np

from utils.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def read_panorama(path: Path) -> np.ndarray:
    """An ERP image as (H, W, 3) uint8 RGB, turned upright as its EXIF orientation says.

    Raises:
        UserError: when the file cannot be read as an image, or is not twice as wide as high.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None:
        raise UserError(f"{path} is not an image, or is damaged")
    height, width = image.shape[:2]
    if width != 2 * height:
        raise UserError(f"{path} is {width}x{height}: a full panorama is twice as wide as high")
    return image


def list_images(path: Path) -> list[Path]:
    """The image itself, or all images in a folder by name.

    Raises:
        UserError: when there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"--input {path} does not exist")
    images = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise UserError(f"--input {path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    return images
