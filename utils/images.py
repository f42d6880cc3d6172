"""Reading image files."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from utils.errors import UserError

_OPENEXR = b"\x76\x2f\x31\x01"  # magic number
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")  # brands
_NO_IMAGE = "is not an image, or is damaged"
_LOSSLESS_FORMATS = ("PNG", "TIFF", "BMP", "PPM", "WEBP")  # by Pillow's names; TIFF and WebP can be lossy as well
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")  # by Pillow's names of its compressions


class ImageFile:
    """The bytes of an image file, to be decoded.

    `rgb` and `colors` are for photographs; `single_channel` and `three_channels` are for maps and return the stored
    numbers exactly.

    Args:
        path: the file, also for messages.
        data: its content, if already read, such as an archive member.

    Raises:
        UserError: when the file is missing, unreadable or truncated.
    """

    def __init__(self, path: Path, data: bytes | None = None):
        self.path = path
        try:
            self._data = np.fromfile(path, np.uint8) if data is None else np.frombuffer(data, np.uint8)
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing") from error
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        head = self._data[:4].tobytes()
        # OpenCV decodes truncated JPEGs partially, and prints warnings for both formats.
        if (head == b"\x89PNG" and not self._ends_with(b"IEND")) or (
            head.startswith(b"\xff\xd8") and not self._is_whole_jpeg()
        ):
            raise UserError(f"{path} is truncated")

    @property
    def is_heic(self) -> bool:
        """Whether it is an HEVC-coded HEIF photograph, as phones take; neither OpenCV nor Pillow decodes these."""
        return self._data[4:8].tobytes() == b"ftyp" and self._data[8:12].tobytes() in _HEIC

    def rgb(self) -> np.ndarray:
        """Colors (H, W, 3) uint8; gray is repeated, alpha dropped, the EXIF orientation applied."""
        return self._decode(cv2.IMREAD_COLOR_RGB)

    def colors(self) -> np.ndarray:
        """As `rgb`, but with the file's type: uint8, uint16, or float32 of any range."""
        # Not IMREAD_COLOR_RGB, with which OpenCV (4.11, 5.0) reads 16-bit TIFF files wrongly.
        return cv2.cvtColor(self._decode(cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH), cv2.COLOR_BGR2RGB)

    def single_channel(self, content: str, bits: int | None = None) -> np.ndarray:
        """(H, W) uint8 or uint16: gray of any bit depth, palette indices, or the common value of three channels.

        Args:
            content: the expected content, for messages.
            bits: required bit depth; None: 8 or 16.

        Raises:
            UserError: when the pixels are of another kind, or the file format may be lossy.
        """
        header = self._header()
        image = self._indices(header) if header.mode in ("P", "1") else self._decode(cv2.IMREAD_UNCHANGED)
        if image.dtype not in (np.uint8, np.uint16) or (bits and image.itemsize * 8 != bits):
            raise UserError(f"{self.path} holds {_pixels(header, image)} pixels: expected {bits or 8}-bit gray")
        if image.ndim == 3:
            image = self._without_alpha(image)
            if (image != image[..., :1]).any():
                raise UserError(f"{self.path} holds colors, not {content}")
            image = np.ascontiguousarray(image[..., 0])
        if header.format == "PNG" and header.mode == "L" and self._data[24] < 8:  # bit depth; OpenCV scaled the values
            image //= 255 // (2 ** int(self._data[24]) - 1)
        return image

    def three_channels(self, bits: int = 8) -> np.ndarray:
        """(H, W, 3) uint8, or uint16 if `bits` is 16, in the order R, G, B.

        Raises:
            UserError: when the pixels are of another kind, or the file format may be lossy.
        """
        header = self._header()
        image = self._decode(cv2.IMREAD_UNCHANGED)
        if header.mode not in ("RGB", "RGBA") or image.dtype != f"uint{bits}":
            raise UserError(f"{self.path} holds {_pixels(header, image)} pixels: expected {bits}-bit color")
        return cv2.cvtColor(self._without_alpha(image), cv2.COLOR_BGR2RGB)

    def _header(self) -> Image.Image:
        """Pillow's image, not decoded yet; rejects files that may be lossy."""
        try:
            header = Image.open(io.BytesIO(self._data))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{self.path} {_NO_IMAGE}") from error
        is_lossless = header.format in _LOSSLESS_FORMATS and header.info.get("compression") not in _LOSSY_TIFF
        if not is_lossless or (header.format == "WEBP" and b"VP8L" not in self._data.tobytes()):
            raise UserError(
                f"{self.path} is a {header.format} file that may have lost precision: "
                "depth, labels and normals must be lossless, as PNG files are"
            )
        return header

    def _indices(self, header: Image.Image) -> np.ndarray:
        """(H, W) uint8 indices of a palette or 1-bit image, which OpenCV only decodes to colors."""
        try:
            indices = np.array(header, dtype=np.uint8)
        except (OSError, SyntaxError) as error:
            raise UserError(f"{self.path} {_NO_IMAGE}") from error
        palette = np.reshape(header.getpalette() or [], (-1, 3))
        used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256)[: len(palette)])
        # PNG optimizers write gray images with such palettes: then the colors are the values, not the indices.
        if (palette == palette[:, :1]).all() and (palette[used, 0] != used).any():
            raise UserError(f"{self.path} has a palette of grays other than its indices: save it as 8-bit gray")
        return indices

    def _without_alpha(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3 or 4) to (H, W, 3). Transparent pixels are rejected, as their meaning is unknown."""
        if image.shape[2] == 3:
            return image
        if (image[..., 3] != np.iinfo(image.dtype).max).any():
            raise UserError(f"{self.path} has transparent pixels: save it without an alpha channel")
        return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)

    def _decode(self, flags: int) -> np.ndarray:
        problem = _NO_IMAGE
        try:
            image = cv2.imdecode(self._data, flags) if self._data.size else None
        except cv2.error as error:  # too many pixels, or a disabled format
            image, problem = None, f"cannot be decoded: {error.err}"
        if image is not None:
            return image
        if self._data[:4].tobytes() == _OPENEXR:
            problem = "is an OpenEXR file, which this OpenCV cannot read: convert it to .hdr"
        raise UserError(f"{self.path} {problem}")

    def _ends_with(self, mark: bytes) -> bool:
        return mark in self._data[-1024:].tobytes()

    def _is_whole_jpeg(self) -> bool:
        """Whether the image has its end marker; 360-degree cameras append data after it."""
        if self._ends_with(b"\xff\xd9"):
            return True
        data = self._data.tobytes()
        scan = 2  # after the header segments, whose previews have end markers too
        while data[scan : scan + 1] == b"\xff" and data[scan + 1 : scan + 2] != b"\xda":
            scan += 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
        return data.find(b"\xff\xd9", scan) >= 0


def _pixels(header: Image.Image, image: np.ndarray) -> str:
    """The kind of pixels, such as "16-bit gray"."""
    kind = "palette" if header.mode == "P" else "color" if header.mode in ("RGB", "RGBA", "CMYK") else "gray"
    return f"{image.itemsize * 8}-bit {kind}"
