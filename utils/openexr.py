"""Reading OpenEXR files with the OpenEXR package."""

from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.extras import MissingPackageError


def read_openexr(path: Path) -> dict[str, np.ndarray]:
    """Read the channels of a file, by name, each (H, W) float32.

    Raises:
        MissingPackageError: when the package is not installed.
        UserError: when the file is damaged or of another kind.
    """
    try:
        import OpenEXR  # in requirements-extra.txt; OpenCV 5's packages do not read the format
    except ImportError:
        raise MissingPackageError(
            f"{path} needs the package OpenEXR: install requirements-extra.txt, or convert the files to .npy"
        ) from None
    try:
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
    except Exception as error:  # the package documents no exceptions
        raise UserError(f"{path} is not an OpenEXR file, or is damaged") from error
    return {name: np.asarray(channel.pixels, np.float32) for name, channel in channels.items()}
