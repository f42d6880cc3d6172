"""Detection of dual-fisheye images, as 360 cameras store them before stitching."""

from pathlib import Path

import numpy as np

from datasets.panorama import resize_rgb
from prediction.input_image import is_panorama
from utils.errors import UserError

_SIZE = 64  # pixels to which each half is shrunk
_BLACK = 20  # largest 8-bit value outside the circles
_OUTSIDE, _INSIDE = 1.08, 0.9  # radii, relative to the circle in the half


def refuse_fisheyes(rgb: np.ndarray, name: str | Path, remedy: str) -> None:
    """Make sure that an image is not a dual fisheye: two circles side by side, with black corners.

    Args:
        rgb: (H, W, 3) uint8.
        name: of the image, for the message.
        remedy: the option that predicts it anyway.

    Raises:
        UserError: when it is one.
    """
    if not is_panorama(rgb.shape[1], rgb.shape[0]):
        return
    brightness = resize_rgb(rgb, _SIZE, 2 * _SIZE).max(axis=-1)
    center = (np.arange(_SIZE) + 0.5) / _SIZE * 2 - 1
    radius = np.hypot(center[:, None], center)
    for half in (brightness[:, :_SIZE], brightness[:, _SIZE:]):
        black_outside = (half[radius > _OUTSIDE] <= _BLACK).mean()
        if black_outside < 0.95 or np.median(half[radius < _INSIDE]) <= 2 * _BLACK:
            return
    raise UserError(
        f"{name} looks like two fisheyes: stitch them into one equirectangular panorama, with the camera's program or "
        f"ffmpeg -i IN -vf v360=dfisheye:e:ih_fov=190:iv_fov=190 OUT ({remedy} predicts it as it is)"
    )
