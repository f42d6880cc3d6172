"""Placing images that do not show a whole, upright sphere in a panorama that does."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datasets.panorama import resize_rgb
from datasets.turned import turn_rotation
from prediction.gpano import GPano
from utils.errors import UserError
from utils.projection import sample
from utils.sphere import erp_ray_rows, rays_to_angles

LARGEST_HEIGHT = 8192  # of a placed panorama: OpenCV resamples images of up to 32767 pixels
_SUPERSAMPLING = 4  # largest number of samples per pixel and direction
_CHUNK = 1 << 20  # pixels at a time
_TOLERANCE = 0.01  # of the aspect ratio of an image and its metadata


@dataclass(frozen=True)
class Placement:
    """The part of the sphere that an image shows, and how the camera was held, in degrees.

    The image is equirectangular in the camera frame; left, right, top and bottom are its borders there.

    Attributes:
        left, right: longitudes, increasing to the right; 0 is the center of the whole panorama.
        top, bottom: latitudes; 90 is the zenith.
        pitch: of the camera, upward.
        roll: of the camera, clockwise.
        heading: of longitude 0, clockwise from north, if known. It does not affect the pixels.
        source: how this is known, in words.
    """

    left: float = -180.0
    right: float = 180.0
    top: float = 90.0
    bottom: float = -90.0
    pitch: float = 0.0
    roll: float = 0.0
    heading: float | None = None
    source: str = "a whole, upright sphere"

    @property
    def is_all_around(self) -> bool:
        """Whether the left and right borders coincide."""
        return self.right - self.left > 360 - 1e-6

    @property
    def is_whole(self) -> bool:
        """Whether the image shows the whole sphere."""
        return self.is_all_around and self.top - self.bottom > 180 - 1e-6

    @property
    def is_plain(self) -> bool:
        """Whether the image needs no change: a whole, upright sphere with longitude 0 at its center."""
        return self.is_whole and abs(self.left + 180) < 1e-6 and not self.pitch and not self.roll

    def own_height(self, height: int) -> int:
        """Rows of the whole panorama with the vertical resolution of an image of `height` rows."""
        return min(round(height * 180 / (self.top - self.bottom)), LARGEST_HEIGHT)

    def place(self, rgb: np.ndarray, height: int) -> np.ndarray:
        """The whole, upright panorama (height, 2 height, 3) uint8 of an image (h, w, 3) uint8.

        Outside the image, the nearest pixel of its border is repeated.

        Raises:
            UserError: when the height is above LARGEST_HEIGHT.
        """
        if height > LARGEST_HEIGHT:
            raise UserError(f"--height {height}: the limit for images that are turned or padded is {LARGEST_HEIGHT}")
        full = len(rgb) * 180 / (self.top - self.bottom)
        times = max(1, min(_SUPERSAMPLING, math.ceil(full / height - 0.5), LARGEST_HEIGHT // height))
        shrink = min(1.0, times * height / full)
        small = resize_rgb(rgb, max(1, round(len(rgb) * shrink)), max(1, round(rgb.shape[1] * shrink)))
        return resize_rgb(self._sampled(small, times * height), height, 2 * height)

    def place_mask(self, mask: np.ndarray, height: int) -> np.ndarray:
        """A mask (h, w) bool of the image in the panorama, (height, 2 height) bool; False outside the image."""
        chunks = []
        for row, column in self._positions(height, mask.shape):
            row, column = np.rint(row).astype(int), np.rint(column).astype(int)
            seen = (row >= 0) & (row < len(mask)) & (column >= 0) & (column < mask.shape[1])
            chunks.append(seen & mask[row.clip(0, len(mask) - 1), column.clip(0, mask.shape[1] - 1)])
        return np.concatenate(chunks)

    def as_dict(self) -> dict:
        """As plain data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def _sampled(self, image: np.ndarray, height: int) -> np.ndarray:
        """The panorama (height, 2 height, 3), one bilinear sample of the image per pixel."""
        before = after = image[:, :0]
        if self.is_all_around:
            before, after = image[:, -1:], image[:, :1]
        around = np.concatenate([before, image, after], axis=1)
        positions = self._positions(height, image.shape[:2])
        return np.concatenate([sample(around, row, column + before.shape[1]) for row, column in positions])

    def _positions(self, height: int, size: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Fractional rows and columns, both (n, 2 height), of the panorama's pixels in an image of (h, w), for n rows
        of the panorama at a time."""
        turn = turn_rotation((0.0, self.pitch, self.roll))
        gap = (360 - (self.right - self.left)) / 2
        for rows in np.array_split(np.arange(height), -(-2 * height * height // _CHUNK)):
            rays = erp_ray_rows(rows, height, 2 * height)
            if self.pitch or self.roll:
                rays = rays @ turn  # the inverse of the turn, as vectors are rows
            u, v = (np.degrees(angle) for angle in rays_to_angles(rays))
            from_left = (u - self.left + gap) % 360 - gap  # the gap is split between both borders
            row = (self.top + v) / (self.top - self.bottom) * size[0] - 0.5  # v increases downward
            yield row, from_left / (self.right - self.left) * size[1] - 0.5


def placement_of_gpano(gpano: GPano, size: tuple[int, int]) -> Placement:
    """The placement of an image of (H, W) by its metadata.

    Raises:
        UserError: when it has another projection, or the metadata describe an image of another aspect ratio.
    """
    if gpano.projection != "equirectangular":
        raise UserError(f"its GPano metadata declares it {gpano.projection}: only equirectangular images are read")
    borders = {}
    if gpano.crop:
        width, height, left, top, full_width, full_height = gpano.crop
        if abs(size[1] / size[0] / (width / height) - 1) > _TOLERANCE:
            raise UserError(
                f"its GPano metadata describes an image of {width:g}x{height:g}, but it is {size[1]}x{size[0]}: pass "
                "the part of the sphere that it shows with --crop (-180 180 90 -90: all)"
            )
        borders = {
            "left": left / full_width * 360 - 180,
            "right": (left + width) / full_width * 360 - 180,
            "top": 90 - top / full_height * 180,
            "bottom": 90 - (top + height) / full_height * 180,
        }
    return Placement(**borders, pitch=gpano.pitch, roll=gpano.roll, heading=gpano.heading, source="GPano")


def placement_of_vfov(vfov: float, size: tuple[int, int]) -> Placement:
    """The placement of an image of (H, W) around the horizon with this vertical field of view in degrees.

    Raises:
        UserError: when its width would span more than 360 degrees.
    """
    hfov = vfov * size[1] / size[0]
    if hfov > 360 * (1 + _TOLERANCE):
        raise UserError(f"--vfov {vfov:g}: an image of {size[1]}x{size[0]} would span {hfov:.0f} degrees, above 360")
    hfov = 360 if hfov > 360 * (1 - _TOLERANCE) else hfov
    return Placement(-hfov / 2, hfov / 2, vfov / 2, -vfov / 2, source="--vfov")
