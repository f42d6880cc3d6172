"""What visitors may upload."""

from pathlib import Path

import numpy as np

from prediction.input_image import read_image, require_panorama
from utils.errors import UserError

MAX_MEGABYTES = 64
MAX_MEGAPIXELS = 128  # 16000x8000


def read_upload(path: Path) -> np.ndarray:
    """An uploaded panorama as (H, W, 3) uint8 RGB, read as prediction reads it.

    Raises:
        UserError: when it is gone, cannot be read, has too many pixels, or is not twice as wide as high.
    """
    try:
        rgb = read_image(path, MAX_MEGAPIXELS * 10**6).rgb
        require_panorama(rgb, path)
    except UserError as error:
        if not path.exists():  # gradio puts uploads of the same name and content in the same place
            raise UserError(f"{path.name} was dropped twice at the same time: drop it again") from error
        raise UserError(str(error).replace(str(path), path.name)) from error  # the visitor knows no folder of ours
    return rgb
