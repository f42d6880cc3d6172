"""Which files are images, and what can be known of one without decoding it."""

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
_RADIANCE_HEADER = 1 << 16  # bytes at most
_SEQUENCES = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # other formats put the whole image first
_NEW_SUBFILE_TYPE, _REDUCED = 254, 1  # of TIFF: a tag, and its bit of a preview
_pillow_limit = Lock()


class Header(NamedTuple):
    """What an image file says of itself.

    Attributes:
        width, height: in pixels, as stored (not turned by EXIF).
        problem: why the first image of the file is not the panorama that is meant; None when it is.
    """

    width: int
    height: int
    problem: str | None = None


def read_header(path: Path) -> Header | None:
    """The header of an image file, whatever its suffix; None when Pillow does not know it and it is no Radiance file.

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
            return Header(*image.size, _problem(image)) if _is_decoded(image.format) else None
    except Exception:  # plugins raise many kinds of errors on damaged files; the decoder reports them
        return None


def image_suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the image formats that are read."""
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if _is_decoded(name)).union(
        _OPENCV_ONLY
    )


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Pillow's image of a file, not decoded yet, however many pixels it has: callers have limits of their own."""
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
    """Whether Pillow decodes a format: no video or document, nor one that another program would have to plug in."""
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
    # Smaller ones are previews.
    return "holds several images, as an animation does: save one of them as a file" if image.size == size else None
