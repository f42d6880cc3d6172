"""Panoramas ready for prediction: whole, upright, at the size of the maps, with a mask of valid pixels."""

from typing import Literal, NamedTuple

import numpy as np

from datasets.panorama import resize_rgb
from prediction.sphere_placement import Placement

Height = int | Literal["own"] | None  # height of the maps: in pixels, that of the image, or the network's


class PanoramaInput(NamedTuple):
    """A whole, upright panorama, ready for prediction.

    Attributes:
        rgb: (H, 2H, 3) uint8.
        seen: (H, 2H) bool, pixels that the image shows; None: all.
        valid: (H, 2H) bool, pixels that it shows and that no mask excludes; None: all.
        placement: of the image, if it is not a whole, upright sphere; None otherwise.
        from_cube: whether the image was a cube map.
    """

    rgb: np.ndarray
    seen: np.ndarray | None = None
    valid: np.ndarray | None = None
    placement: Placement | None = None
    from_cube: bool = False


def panorama_input(
    rgb: np.ndarray, placement: Placement, height: Height, network_height: int, mask: np.ndarray | None = None
) -> PanoramaInput:
    """Place an image on the sphere.

    Args:
        rgb: (h, w, 3) uint8, the image.
        placement: of the image.
        height: of the panorama; "own": that of the image; None: `network_height`.
        network_height: height of the network's input.
        mask: (h, w) bool, the valid pixels of the image; None: all.
    """
    own = len(rgb) if placement.is_plain else placement.own_height(len(rgb))
    height = own if height == "own" else height or network_height
    if placement.is_plain:
        valid = None if mask is None else resize_mask(mask, height, 2 * height)
        return PanoramaInput(resize_rgb(rgb, height, 2 * height), valid=valid)
    whole = placement.place(rgb, height)
    seen = placement.place_mask(np.ones(rgb.shape[:2], bool), height)
    valid = seen if mask is None else placement.place_mask(mask, height)
    if seen.all():
        seen, valid = None, None if mask is None else valid
    return PanoramaInput(whole, seen, valid, placement)


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a mask (h, w) bool to (height, width) by nearest neighbors."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip((height, width), mask.shape, strict=True)
    )
    return mask[rows[:, None], columns]
