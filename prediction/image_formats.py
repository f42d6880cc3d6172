"""Recognizing image files and reading their headers without decoding them."""

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from PIL import Image
from PIL.ImageFile import StubImageFile

_OPENCV_ONLY = (".hdr", ".pic", ".pam", ".exr")  # Pillow does not register these; .exr is reported as unreadable
_RADIANCE_SIZE = re.compile(rb"^-Y (\d+) \+X (\d+)$", re.MULTILINE)
_RADIANCE_HEADER = 1 << 16  # bytes to search for the size
_SEQUENCES = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # formats that may hold several images
_NEW_SUBFILE_TYPE, _REDUCED = 254, 1  # of TIFF: a tag, and its bit for previews
_EXIF, _FOCAL_LENGTH_35MM = 0x8769, 0xA405  # of EXIF: the tag of its main part, and FocalLengthIn35mmFilm in it
_pillow_limit = Lock()


class Header(NamedTuple):
    """The header of an image file.

    Attributes:
        width, height: in pixels, as stored (before EXIF rotation).
        problem: why the first image in the file cannot be used; None if it can.
        focal_length: from EXIF, equivalent on 36x24 mm film, in millimeters; None if unknown.
        xmp: the XMP packet; None if there is none.
    """

    width: int
    height: int
    problem: str | None = None
    focal_length: float | None = None
    xmp: bytes | str | None = None


def read_header(path: Path) -> Header | None:
    """Read the header of an image file with any suffix; None for formats other than Pillow's and Radiance.

    Raises:
        OSError: when the file cannot be opened.
    """
    with open(path, "rb") as file:
        start = file.read(_RADIANCE_HEADER)
    if start.startswith((b"#?RADIANCE", b"#?RGBE")):
        size = _RADIANCE_SIZE.search(start)
        return Header(int(size[2]), int(size[1])) if size else None
    try:
        with open_image(path) as image:
            if not _is_decoded(image.format):
                return None
            size, focal_length, xmp = image.size, _focal_length(image), _xmp(image)  # before _problem seeks
            return Header(*size, _problem(image), focal_length, xmp)
    except Exception:  # plugins raise many kinds of errors on damaged files; the decoder reports them
        return None


def image_suffixes() -> frozenset[str]:
    """Lower-case suffixes of the readable image formats."""
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if _is_decoded(name)).union(
        _OPENCV_ONLY
    )


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image with Pillow, without decoding it and without Pillow's limit of its size: callers have their own."""
    with _pillow_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def _is_decoded(name: str) -> bool:
    """Whether Pillow itself can decode a format, and it is one of images, not of videos or documents."""
    opener = Image.OPEN.get(name, (None,))[0]
    is_stub = isinstance(opener, type) and issubclass(opener, StubImageFile)
    return opener is not None and not is_stub and Image.MIME.get(name, "image/").startswith("image/")


def _problem(image: Image.Image) -> str | None:
    if image.format not in _SEQUENCES:
        return None
    if image.format == "TIFF" and image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED:
        return "starts with a preview, as raw files do: convert it"
    size = image.size
    try:
        image.seek(1)
    except EOFError:
        return None
    # A smaller second image is a preview.
    return "holds several images, as an animation does: save one of them as a file" if image.size == size else None


def _xmp(image: Image.Image) -> bytes | str | None:
    """The XMP packet, if it is before the pixels: Pillow would decode a PNG file to look behind them."""
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return found if isinstance(found, bytes | str) else None


def _focal_length(image: Image.Image) -> float | None:
    """FocalLengthIn35mmFilm; None if it is missing, unknown (0) or damaged."""
    if "exif" not in image.info and image.format != "TIFF":  # Pillow would decode a PNG file to look behind its pixels
        return None
    try:
        value = float(image.getexif().get_ifd(_EXIF)[_FOCAL_LENGTH_35MM])
    except Exception:  # Pillow raises many kinds of errors on damaged metadata
        return None
    return value if 0 < value < math.inf else None
