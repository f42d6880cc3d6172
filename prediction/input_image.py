"""Reading input images of any format as 8-bit RGB."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps

from prediction.cameras import Camera
from prediction.image_formats import Header, open_image, read_header
from prediction.panorama_input import PanoramaInput
from utils.errors import UserError
from utils.images import ImageFile
from utils.provenance import sha256

MAX_PIXELS = 1 << 29  # 32768x16384: decoding needs gigabytes
_TOLERANCE = 2  # pixels of width

TONE_MAPPING = (
    "radiance scaled to a log-average luminance of 0.18, x / (1 + x) per channel, sRGB curve (Reinhard et al. 2002)"
)
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # of linear sRGB primaries
_DARKEST = 1e-6  # lower bound of radiance in logarithms


class InputImage(NamedTuple):
    """A decoded image.

    Attributes:
        rgb: (H, W, 3) uint8, upright.
        size: width and height of the image in the file, also after `rgb` was resized.
        tone_mapped: whether the file held radiance (floats), converted by TONE_MAPPING.
        sha256: of the file, in hexadecimal.
        focal_length, xmp: see `prediction.image_formats.Header`.
        camera: of a perspective image; None for panoramas.
        panorama: the image as a whole panorama, once it was placed; None for perspective images.
        full_rgb: (h, w, 3) uint8, a frame of a video before `rgb` was resized; None for files, which can be read again.
        entries: additional entries of the .json file about the image.
    """

    rgb: np.ndarray
    size: tuple[int, int]
    tone_mapped: bool
    sha256: str
    focal_length: float | None = None
    xmp: bytes | str | None = None
    camera: Camera | None = None
    panorama: PanoramaInput | None = None
    full_rgb: np.ndarray | None = None
    entries: Mapping[str, object] = MappingProxyType({})


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> InputImage:
    """Read an image: gray, palette, alpha (dropped), CMYK; 8 bits, 16 bits or floats; rotated by its EXIF orientation.

    Args:
        path: of an image in any format that OpenCV or Pillow decode, with any suffix.
        max_pixels: larger images are rejected.

    Raises:
        UserError: when it cannot be read, is too large, contains several images, or was modified in the meantime.
    """
    path = Path(path)
    version = _version(path)
    file = ImageFile(path)
    header = read_header(path)
    if header and header.problem:
        raise UserError(f"{path} {header.problem}")
    if header and header.width * header.height > max_pixels:
        raise UserError(
            f"{path} is {header.width}x{header.height}: at most {max_pixels / 1e6:.0f} million pixels are supported"
        )
    if file.is_heic:
        raise UserError(f"{path} is a HEIC file, which is not supported: save it as JPEG (heif-convert IN OUT.jpg)")
    colors = _decode(file, header)
    digest = sha256(path)
    if _version(path) != version:
        raise UserError(f"{path} was written to while it was read: try again")
    size = (colors.shape[1], colors.shape[0])
    metadata = {"focal_length": header.focal_length, "xmp": header.xmp} if header else {}
    if colors.dtype.kind == "f":
        return InputImage(tone_map(colors), size, tone_mapped=True, sha256=digest, **metadata)
    if colors.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path} has {colors.dtype} pixels: save it with 8 or 16 bits, or as floats")
    return InputImage(_as_8_bit(colors), size, tone_mapped=False, sha256=digest, **metadata)


def as_rgb(image: np.ndarray | torch.Tensor | Image.Image | str | Path) -> np.ndarray:
    """Convert a file, Pillow image, array or tensor to (H, W, 3) uint8, upright; see `PanoramaModel.predict`.

    Raises:
        UserError: when a file cannot be read.
        ValueError: when an array has another shape, type or range.
    """
    if isinstance(image, str | Path):
        return read_image(image).rgb
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8
            values = np.asarray(image)
            if values.size and not 0 <= values.min() <= values.max() < 1 << 16:
                raise ValueError("an image of integers must have values from 0 to 65535")
            return _array_as_rgb(values.astype(np.uint16))
        return _array_as_rgb(np.asarray(image if image.mode == "F" else image.convert("RGB")))
    if isinstance(image, torch.Tensor):
        return _tensor_as_rgb(image)
    return _array_as_rgb(image)


def is_panorama(width: int, height: int) -> bool:
    """Whether an image is twice as wide as high, give or take two pixels of its width (5 % of a small one)."""
    return abs(width - 2 * height) <= min(_TOLERANCE, width / 20)


def require_panorama(size: tuple[int, int], name: str | Path, remedy: str | None = None) -> None:
    """Make sure that an image is a full panorama, see `is_panorama`.

    Args:
        size: (H, W).
        name: of the image, for the message.
        remedy: advice on other images, for the message.

    Raises:
        UserError: when it is not twice as wide as high.
    """
    height, width = size
    if not is_panorama(width, height):
        hint = f" ({remedy})" if remedy else ""
        raise UserError(f"{name} is {width}x{height}: a full panorama is twice as wide as high{hint}")


def tone_map(radiance: np.ndarray) -> np.ndarray:
    """Map linear radiance (H, W, 3) to colors (H, W, 3) uint8, see TONE_MAPPING; non-finite values become 0."""
    radiance = np.nan_to_num(radiance, nan=0, posinf=0, neginf=0).clip(min=0)
    log_average = np.exp(np.log(np.maximum(radiance @ _LUMINANCE, _DARKEST)).mean())
    scaled = radiance * (0.18 / log_average)
    linear = scaled / (1 + scaled)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)


def _decode(file: ImageFile, header: Header | None) -> np.ndarray:
    """Decode RGB (H, W, 3) in the type of the file with OpenCV, or with Pillow if OpenCV cannot."""
    try:
        with _silent_opencv():
            return file.colors()
    except cv2.error as error:
        problem = UserError(f"{file.path} cannot be decoded: {' '.join(error.err.split())}")
    except UserError as error:
        problem = error
    if header is None:
        raise problem
    try:
        with open_image(file.path) as image:
            return as_rgb(image)
    except Exception:  # plugins raise many kinds of errors on damaged files
        raise problem from None


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Keep OpenCV from printing errors that it also returns or raises."""
    logging = cv2.utils.logging
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _version(path: Path) -> tuple[int, int, int] | None:
    """A value that changes when a file is replaced or modified; None if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _tensor_as_rgb(image: torch.Tensor) -> np.ndarray:
    """Channels first."""
    if image.ndim != 3 or len(image) not in (1, 3, 4):
        raise ValueError(f"an image tensor must be (3, H, W), (1, H, W) or (4, H, W), got {tuple(image.shape)}")
    channels_last = image.detach().cpu().permute(1, 2, 0)
    return _array_as_rgb((channels_last.float() if channels_last.is_floating_point() else channels_last).numpy())


def _array_as_rgb(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ValueError(f"an image must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.shape}")
    colors = array[..., :3]
    if colors.dtype.kind == "f":
        if not (colors.min() >= 0 and colors.max() <= 1):  # also rejects NaN
            raise ValueError("a floating point image must have values from 0 to 1")
        colors = np.rint(colors * 255).astype(np.uint8)
    elif colors.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an image must be uint8, uint16 or floating point, got {colors.dtype}")
    return np.array(np.broadcast_to(_as_8_bit(colors), (*array.shape[:2], 3)), order="C")  # a copy


def _as_8_bit(colors: np.ndarray) -> np.ndarray:
    """uint8 unchanged, uint16 divided by 257."""
    return colors if colors.dtype == np.uint8 else np.rint(colors / np.float32(257)).astype(np.uint8)
