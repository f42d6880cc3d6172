"""Reading uploads."""

from pathlib import Path

import numpy as np

from prediction.fisheye import refuse_fisheyes
from prediction.input_image import read_image, require_panorama
from utils.errors import UserError

MAX_MEGABYTES = 64
MAX_MEGAPIXELS = 128  # 16000x8000


def read_upload(path: Path) -> np.ndarray:
    """Read an uploaded panorama as (H, W, 3) uint8 RGB, as for prediction.

    Raises:
        UserError: when it is missing, cannot be read, has too many pixels, is not 2:1, or shows two fisheyes.
    """
    try:
        rgb = read_image(path, MAX_MEGAPIXELS * 10**6).rgb
        require_panorama(rgb.shape[:2], path)
        refuse_fisheyes(rgb, path, "predict_elite360m.py --force")
    except UserError as error:
        if not path.exists():  # gradio stores uploads with the same name and content in the same file
            raise UserError(f"{path.name} was uploaded twice at the same time: upload it again") from error
        raise UserError(str(error).replace(str(path), path.name)) from error  # hides folders of the server
    return rgb
