"""What visitors may upload."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from prediction.pictures import as_rgb
from utils.errors import UserError

MAX_MEGABYTES = 64
MAX_MEGAPIXELS = 128  # 16000 x 8000

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # our own limit is checked here


def read_upload(path: Path) -> np.ndarray:
    """An uploaded panorama as (H, W, 3) uint8 RGB. It is not decoded before its size is known.

    Raises:
        UserError: when it is gone, is no image, has too many pixels, or is not twice as wide as high.
    """
    name = path.name
    try:
        with Image.open(path) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:  # Pillow's own limit, which lies above ours
        raise UserError(f"{name} has too many pixels: {MAX_MEGAPIXELS} million at most") from error
    except FileNotFoundError as error:  # gradio lays uploads of the same name and content to the same place
        raise UserError(f"{name} was dropped twice at the same time: drop it again") from error
    except (OSError, SyntaxError) as error:
        raise UserError(f"{name} is no image of a kind that is read here, or is damaged") from error
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise UserError(f"{name} is {width}x{height}: {MAX_MEGAPIXELS} million pixels at most")
    try:
        rgb = as_rgb(path)
    except UserError as error:
        raise UserError(str(error).replace(str(path), name)) from error  # the visitor knows no folder of ours
    height, width = rgb.shape[:2]  # turned as its EXIF says
    if width != 2 * height:
        raise UserError(f"{name} is {width}x{height}: a full panorama is twice as wide as high")
    return rgb
