"""Masks of the pixels to evaluate: one image for all panoramas, or a folder with an image for each."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from datasets.base import on_device
from datasets.sample_files import SampleFiles
from utils.batches import ChangedBatches
from utils.errors import UserError
from utils.images import ImageFile

_SUFFIX = ".png"


class Masks:
    """Reads masks: lossless gray images, 0 = pixel excluded.

    Args:
        path: an image for all panoramas, or a folder with ``ID.png`` for each, see `SampleFiles`.

    Raises:
        UserError: when the path does not exist.
    """

    def __init__(self, path: str | Path):
        self._path = Path(path)
        if not self._path.exists():
            raise UserError(f"--mask {path} does not exist: pass an image, or a folder of images")
        self._files = SampleFiles(self._path) if self._path.is_dir() else None
        self._common: dict[tuple[int, int], np.ndarray] = {}  # the mask of all panoramas, by size

    def digest(self) -> str:
        """SHA-256 of the image, or of all PNG files of the folder with their names."""
        if not self._files:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        digest = hashlib.sha256()
        for path in sorted(self._path.rglob(f"*{_SUFFIX}")):
            digest.update(path.relative_to(self._path).as_posix().encode("utf-8", "surrogateescape"))
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def read(self, sample: str, height: int, width: int) -> np.ndarray:
        """The mask (H, W) bool of a sample, resized by nearest neighbor.

        Args:
            sample: id of the sample.
            height, width: H x W.

        Raises:
            UserError: when the mask is missing, damaged, not gray, or not twice as wide as high.
        """
        if not self._files:
            if (height, width) not in self._common:
                self._common[height, width] = _read(self._path, height, width)
            return self._common[height, width]
        path = self._files.find(sample, (_SUFFIX,))
        if path is None:
            stem = Path(sample).with_suffix("")
            raise UserError(f"--mask {self._path} has no mask for {sample}: expected {stem}{_SUFFIX}")
        return _read(path, height, width)


class MaskedBatches(ChangedBatches):
    """Batches with the masks of their panoramas as ``mask`` (B, 1, H, W) bool; see `metrics.region`."""

    def __init__(self, batches: Iterable[dict], masks: Masks):
        super().__init__(batches)
        self._masks = masks

    def change(self, batch: dict) -> dict:
        rgb = batch["rgb"]
        masks = np.stack([self._masks.read(sample, *rgb.shape[-2:]) for sample in batch["id"]])
        return batch | {"mask": on_device(masks[:, None], rgb.device)}


def _read(path: Path, height: int, width: int) -> np.ndarray:
    mask = ImageFile(path).single_channel("a mask")
    if mask.shape[1] != 2 * mask.shape[0]:
        raise UserError(f"--mask: {path} is {mask.shape[1]}x{mask.shape[0]}: an ERP image is twice as wide as high")
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
