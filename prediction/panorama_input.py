"""Panoramas as network and results need them: whole, upright, at the size of the maps, with a mask of valid pixels."""

from typing import Literal, NamedTuple

import numpy as np

from datasets.panorama import resize_rgb
from prediction.sphere_placement import Placement

Height = int | Literal["own"] | None  # of maps: rows, that of the image, or the network's


class PanoramaInput(NamedTuple):
    """A whole, upright panorama, ready for prediction.

    Attributes:
        rgb: (H, 2H, 3) uint8.
        seen: (H, 2H) bool, what the image shows; None: everything.
        valid: (H, 2H) bool, what it shows and masks do not exclude; None: everything.
        placement: of the image, if it is not a whole, upright sphere; None otherwise.
        from_cube: whether the image was a cube map.
    """

    rgb: np.ndarray
    seen: np.ndarray | None = None
    valid: np.ndarray | None = None
    placement: Placement | None = None
    from_cube: bool = False


def panorama_input(
    rgb: np.ndarray, placement: Placement, height: Height, network_height: int, used: np.ndarray | None = None
) -> PanoramaInput:
    """The panorama of an image.

    Args:
        rgb: (h, w, 3) uint8, the image.
        placement: of the image.
        height: of the panorama; "own": that of the image; None: `network_height`.
        network_height: the training size.
        used: (h, w) bool, the pixels of the image that are not masked; None: all.
    """
    own = len(rgb) if placement.is_plain else placement.own_height(len(rgb))
    height = own if height == "own" else height or network_height
    if placement.is_plain:
        valid = None if used is None else resize_mask(used, height, 2 * height)
        return PanoramaInput(resize_rgb(rgb, height, 2 * height), valid=valid)
    whole = placement.place(rgb, height)
    seen = placement.place_mask(np.ones(rgb.shape[:2], bool), height)
    valid = seen if used is None else placement.place_mask(used, height)
    if seen.all():
        seen, valid = None, None if used is None else valid
    return PanoramaInput(whole, seen, valid, placement)


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The nearest pixels of a mask (h, w) bool, (height, width)."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip((height, width), mask.shape, strict=True)
    )
    return mask[rows[:, None], columns]
