"""Valid pixels of images: mask files and black bars."""

import os
from pathlib import Path

import numpy as np

from prediction.input_image import InputImage, read_image
from prediction.panorama_input import resize_mask
from utils.errors import UserError

_BLACK = 16  # largest 8-bit value in black bars, which are not exactly 0 in lossy files
_BLACK_FRACTION = 0.999  # of the pixels of a black row
_USED = 128  # smallest gray value of valid pixels in masks
_ASPECT_TOLERANCE = 0.01


class MaskFiles:
    """Masks of images: one file for all, or a folder with one of the same name for each.

    Args:
        path: of --mask.

    Raises:
        UserError: when it does not exist.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        if not self._path.exists():
            raise UserError(f"--mask {path} does not exist")
        self._folders: dict[Path, Path] = {}  # mask -> folder of its image

    def path_for(self, image: Path) -> Path:
        """The mask file of an image.

        Raises:
            UserError: when there is none, or several, or it is already that of an image in another folder.
        """
        if not self._path.is_dir():
            return self._path
        found = sorted(path for path in self._path.iterdir() if path.stem == image.stem and path.is_file())
        if len(found) != 1:
            count = f"{len(found)} files" if found else "no file"
            raise UserError(f"--mask {self._path} has {count} named {image.stem}.*: one is needed for {image}")
        parent = Path(os.path.abspath(image)).parent
        if (folder := self._folders.setdefault(found[0], parent)) != parent:
            raise UserError(
                f"--mask: {found[0]} would be the mask of {image} and of an image in {folder}: predict each folder "
                "separately, with its own masks"
            )
        return found[0]


def read_mask(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, InputImage]:
    """Read the valid pixels (H, W) bool of an image of this size from a mask file; also returns the file's image.

    Raises:
        UserError: when it cannot be read, or has another aspect ratio.
    """
    image = read_image(path)
    height, width = image.rgb.shape[:2]
    if abs(width / height / (size[1] / size[0]) - 1) > _ASPECT_TOLERANCE:
        raise UserError(
            f"--mask {path} is {width}x{height}, its image {size[1]}x{size[0]}: give it the same aspect ratio"
        )
    return resize_mask(image.rgb.mean(axis=-1) >= _USED, *size), image


def black_bars(rgb: np.ndarray) -> tuple[int, int]:
    """The number of black rows at the top and at the bottom of an image (H, W, 3) uint8."""

    def leading(rows: np.ndarray) -> int:
        for number, row in enumerate(rows):
            if (row <= _BLACK).all(axis=-1).mean() < _BLACK_FRACTION:
                return number
        return len(rows)

    return leading(rgb), leading(rgb[::-1])
