"""Reading picture files."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.errors import UserError

_OPENEXR = b"\x76\x2f\x31\x01"  # what its files start with


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
        head = self._data[:32].tobytes()
        is_png = head.startswith(b"\x89PNG") and len(head) == 32
        # The decoder takes what there is of a JPEG, and talks to the terminal about either.
        if (is_png and not self._ends_with(b"IEND")) or (head.startswith(b"\xff\xd8") and not self._is_whole_jpeg()):
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

    def colours(self) -> np.ndarray:
        """(H, W, 3) as `rgb`, but with the numbers of the file: uint8, uint16, or float32 of any range."""
        # Not IMREAD_COLOR_RGB: OpenCV 5.0 then reads TIFF files of 16 bits wrongly.
        return cv2.cvtColor(self._decode(cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH), cv2.COLOR_BGR2RGB)

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
        problem = "is not an image, or is damaged"
        try:
            image = cv2.imdecode(self._data, flags) if self._data.size else None
        except cv2.error as error:  # too many pixels, or a format that is switched off
            image, problem = None, f"cannot be decoded: {error.err}"
        if image is not None:
            return image
        if self._data[:4].tobytes() == _OPENEXR:
            problem = "is an OpenEXR file, which this OpenCV cannot read: convert it to .hdr"
        raise UserError(f"{self.path} {problem}")

    def _ends_with(self, mark: bytes) -> bool:
        return mark in self._data[-1024:].tobytes()

    def _is_whole_jpeg(self) -> bool:
        """Whether the end of the picture is there; 360-degree cameras write data of their own after it."""
        if self._ends_with(b"\xff\xd9"):
            return True
        data = self._data.tobytes()
        scan = 2  # after the segments, whose previews have ends too
        while data[scan : scan + 1] == b"\xff" and data[scan + 1 : scan + 2] != b"\xda":
            scan += 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
        return data.find(b"\xff\xd9", scan) >= 0
