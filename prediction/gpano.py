"""Photo Sphere metadata (GPano) in the XMP of an image: the part of the sphere that it shows, and the camera's pose.

https://developers.google.com/streetview/spherical-metadata
"""

import math
from typing import NamedTuple
from xml.etree import ElementTree

from utils.errors import UserError

_NAMESPACE = "{http://ns.google.com/photos/1.0/panorama/}"
_CROP = ("CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels", "CroppedAreaLeftPixels", "CroppedAreaTopPixels")
_FULL = ("FullPanoWidthPixels", "FullPanoHeightPixels")


class GPano(NamedTuple):
    """The GPano metadata of an image; angles in degrees.

    Attributes:
        projection: such as "equirectangular".
        crop: width, height, left and top of the image in the whole panorama, then width and height of the panorama, in
            pixels of any size; None if not given.
        pitch: of the camera, upward.
        roll: of the camera, clockwise: the horizon turns counterclockwise.
        heading: of the center of the whole panorama, clockwise from north; None if not given.
    """

    projection: str = "equirectangular"
    crop: tuple[float, float, float, float, float, float] | None = None
    pitch: float = 0.0
    roll: float = 0.0
    heading: float | None = None


def parse_gpano(xmp: bytes | str | None) -> GPano | None:
    """The GPano metadata in an XMP packet; None if it has none or is not XML.

    Raises:
        UserError: when a value is not a number, or the image lies outside the panorama.
    """
    if not xmp:
        return None
    try:
        root = ElementTree.fromstring(xmp.strip(b"\0 \n\r\t") if isinstance(xmp, bytes) else xmp.strip("\0 \n\r\t"))
    except (ElementTree.ParseError, ValueError):
        return None
    found: dict[str, str] = {}
    for element in root.iter():
        pairs = [*element.attrib.items(), (element.tag, element.text or "")]
        found |= {name.removeprefix(_NAMESPACE): value for name, value in pairs if name.startswith(_NAMESPACE)}
    if not found:
        return None
    return GPano(
        found.get("ProjectionType", "equirectangular").strip().lower(),
        _crop(found),
        _number(found, "PosePitchDegrees", 0.0),
        _number(found, "PoseRollDegrees", 0.0),
        _number(found, "PoseHeadingDegrees", None),
    )


def _crop(found: dict[str, str]) -> tuple[float, float, float, float, float, float] | None:
    values = [_number(found, name, None) for name in (*_CROP, *_FULL)]
    if None in values:
        return None
    width, height, left, top, full_width, full_height = values
    inside = 0 < width <= full_width - left and 0 < height <= full_height - top and left >= 0 and top >= 0
    if not inside:
        raise UserError("its GPano metadata places it outside the panorama")
    return width, height, left, top, full_width, full_height


def _number(found: dict[str, str], name: str, default: float | None) -> float | None:
    """A value; the default if it is missing, NaN or infinite."""
    try:
        value = float(found[name]) if name in found else math.nan
    except ValueError as error:
        raise UserError(f"its GPano metadata has {name} {found[name][:40]!r}, which is not a number") from error
    return value if math.isfinite(value) else default
