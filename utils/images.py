"""Reading panoramas."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def read_panorama(path: Path) -> np.ndarray:
    """An ERP image as (H, W, 3) uint8 RGB, turned upright as its EXIF orientation says.

    Raises:
        UserError: when the file cannot be read as an image, or is not twice as wide as high.
    """
    image = ImageFile(path).rgb()
    height, width = image.shape[:2]
    if width != 2 * height:
        raise UserError(f"{path} is {width}x{height}: a full panorama is twice as wide as high")
    return image


class ImageFile:
    """A picture as it lies on disk, read but not decoded.

    Args:
        path: of the file.

    Attributes:
        bits: per channel.
        channels: "grey", "palette" or "colour". Both are known of PNG files; others count as 8-bit colour.

    Raises:
        UserError: when the file is missing, cannot be read, or breaks off.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self._data = np.fromfile(path, dtype=np.uint8)
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing") from error
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        head, tail = self._data[:32].tobytes(), self._data[-1024:].tobytes()
        is_png = head.startswith(b"\x89PNG") and len(head) == 32
        # The decoder takes what there is of a JPEG, and talks to the terminal about either.
        if (is_png and b"IEND" not in tail) or (head.startswith(b"\xff\xd8") and b"\xff\xd9" not in tail):
            raise UserError(f"{path} is truncated")
        self.bits = head[24] if is_png else 8  # the header always comes first in a PNG
        self.channels = {0: "grey", 3: "palette", 4: "grey"}.get(head[25], "colour") if is_png else "colour"

    def require(self, bits: int, channels: str) -> "ImageFile":
        """Make sure of the kind of pixels, and return the picture itself.

        Raises:
            UserError: when it holds others.
        """
        if (self.bits, self.channels) != (bits, channels):
            raise UserError(f"{self.path} holds {self.bits}-bit {self.channels} pixels: expected {bits}-bit {channels}")
        return self

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8, grey repeated, alpha dropped, turned upright as its EXIF orientation says."""
        return self._decode(cv2.IMREAD_COLOR_RGB)

    def grey(self) -> np.ndarray:
        """(H, W) uint8 or uint16 as stored; the first channel of a colour picture, the indices into a palette."""
        if self.channels == "palette":  # OpenCV gives colours only
            try:
                return np.array(Image.open(io.BytesIO(self._data)))
            except (OSError, SyntaxError) as error:
                raise UserError(f"{self.path} is not an image, or is damaged") from error
        image = self._decode(cv2.IMREAD_UNCHANGED)
        if image.ndim == 2:
            return image
        return np.ascontiguousarray(image[..., 0 if self.channels == "grey" else 2])  # the order is BGR

    def _decode(self, flags: int) -> np.ndarray:
        image = cv2.imdecode(self._data, flags) if self._data.size else None
        if image is None:
            raise UserError(f"{self.path} is not an image, or is damaged")
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
