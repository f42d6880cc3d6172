"""OpenEXR files, read by the package OpenEXR."""

from pathlib import Path

import numpy as np

from utils.errors import UserError


def read_openexr(path: Path) -> dict[str, np.ndarray]:
    """The channels of a file by their names, (H, W) float32 each.

    Raises:
        UserError: when the package is not installed, or the file is damaged or of another kind.
    """
    try:
        import OpenEXR  # in requirements-extra.txt: the packages of OpenCV 5 do not read it
    except ImportError:
        raise UserError(
            f"{path} is an OpenEXR file, which needs the package OpenEXR of requirements-extra.txt: install it, or "
            "convert the files to .npy"
        ) from None
    try:
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
    except Exception as error:  # the package documents none
        raise UserError(f"{path} is not an OpenEXR file, or is damaged") from error
    return {name: np.asarray(channel.pixels, np.float32) for name, channel in channels.items()}
