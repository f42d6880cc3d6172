"""The sample contract of panorama datasets: read, resize, augment, decode.

`dataset[index]` is a dict with

=============== ========================== ==========================================================================
key             shape, type                meaning
=============== ========================== ==========================================================================
``rgb``         (3, H, W) float32          colors in [0, 1]
``depth``       (1, H, W) float32          meters along the ray (see `PanoramaDataset.depth_unit`), 0 = missing
``normal``      (3, H, W) float32          unit vectors in the camera frame (x right, y down, z forward), pointing
                                           toward the camera; (0, 0, 0) = missing
``semantic``    (H, W) int64               class labels, -1 = ignore
``depth_mask``  (1, H, W) bool             0 < depth <= 10 m
``normal_mask`` (1, H, W) bool             where the normal is known
``id``          str                        name of the sample, for example the relative path of its RGB image
``index``       int                        index in the dataset
``stored``      dict                       all of the above at the size of the files; only if that is another size and
                                           `PanoramaDataset.keeps_stored` is set
=============== ========================== ==========================================================================

Ground truth that is unavailable, or that no task needs, is missing in all pixels: zeros, -1, False in masks.

Until the last step a sample is a `Panorama` of raw file values (uint8, uint16), a quarter of the size of the decoded
floats. DataLoader workers send these (see `pack`), and `unpack` decodes a whole batch on the device.
"""

from abc import abstractmethod
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch

from datasets.base import ImageDataset, channels_first, on_device
from utils.batches import STORED
from utils.tasks import MAP_OF_TASK, MAX_DEPTH, METERS


@dataclass
class Panorama:
    """One panorama with its ground truth (H x W, W = 2H): raw file values, and how to decode them.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 or uint16, in units of `depth_scale` along the ray. Values that are not positive and
            finite are missing.
        normal: (H, W, 3) float32 or uint8, decoded by `normal_decoding` to unit vectors toward the camera. Vectors
            whose decoded length is not about 1 are missing.
        semantic: (H, W) int8 labels, -1 = ignore.
        id: name of the sample.
        depth_scale: meters per unit of `depth`.
        normal_decoding: (3, 4), maps values (a, b, c) of `normal` to the vector `normal_decoding @ (a, b, c, 1)`.
        normal_frame: "camera", or "world" for a frame that does not rotate with the camera.
    """

    rgb: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    semantic: np.ndarray
    id: str
    depth_scale: float = 1.0
    normal_decoding: np.ndarray = field(default_factory=lambda: np.eye(3, 4))
    normal_frame: str = "camera"

    def resized(self, height: int, width: int) -> "Panorama":
        """The panorama at another size: colors by `resize_rgb`, maps by nearest neighbor."""
        if self.depth.shape == (height, width):
            return self

        # Depth, normals and labels must not be interpolated across edges or with missing pixels.
        def nearest(array: np.ndarray) -> np.ndarray:
            return cv2.resize(array, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

        maps = {name: nearest(getattr(self, name)) for name in MAP_OF_TASK.values()}
        return replace(self, rgb=resize_rgb(self.rgb, height, width), **maps)


def resize_rgb(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize colors (H, W, 3) uint8: area averaging when shrinking, bilinear interpolation when enlarging."""
    if rgb.shape[:2] == (height, width):
        return rgb
    shrinks = height < rgb.shape[0]
    return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


class PanoramaDataset(ImageDataset):
    """Panoramas with W = 2H, see `ImageDataset`; `augment` maps a `Panorama` to another.

    Attributes:
        keeps_stored: whether samples also contain ``stored``, all maps at the size of the files, not augmented.
    """

    depth_unit: str = METERS
    noun = "panoramas"
    keeps_stored: bool = False

    @abstractmethod
    def read(self, index: int) -> Panorama:
        """Read a panorama with its ground truth, at the size of its files."""

    def packed(self, index: int) -> dict:
        """The sample after reading, resizing and augmentation, not decoded yet (see `pack`)."""
        at_file_size = self.read(index)
        panorama = at_file_size.resized(self.height, self.width)
        packed = pack(self.augment(panorama) if self.augment else panorama, index)
        if self.keeps_stored and panorama is not at_file_size:
            packed[STORED] = pack(at_file_size, index)
        return packed

    @staticmethod
    def unpack(packed: dict, device: torch.device | str = "cpu") -> dict:
        """See `unpack`."""
        return unpack(packed, device)


def pack(panorama: Panorama, index: int) -> dict:
    """The arrays of a panorama, which can be stacked and decoded by `unpack`."""
    return {
        "rgb": panorama.rgb,
        "depth": panorama.depth,
        "normal": panorama.normal,
        "semantic": panorama.semantic,
        "depth_scale": np.float32(panorama.depth_scale),
        "normal_decoding": panorama.normal_decoding.astype(np.float32),
        "id": panorama.id,
        "index": index,
    }


def unpack(packed: dict, device: torch.device | str = "cpu") -> dict:
    """Decode one packed sample, or a batch of them, to the sample contract above, on a device.

    In place where possible, as allocation dominates the time.
    """
    raw = {key: on_device(packed[key], device) for key in packed if key not in ("id", "index", STORED)}
    at_file_size = {STORED: unpack(packed[STORED], device)} if STORED in packed else {}
    depth = raw["depth"].float().mul(raw["depth_scale"][..., None, None]).unsqueeze(-3)
    depth.nan_to_num_(0, posinf=0, neginf=0).clamp_min_(0)
    normal, normal_mask = _decode_normal(raw["normal"], raw["normal_decoding"])
    return {
        "rgb": channels_first(raw["rgb"]).float().div_(255),
        "depth": depth,
        "normal": normal,
        "semantic": raw["semantic"].long(),
        "depth_mask": (depth > 0) & (depth <= MAX_DEPTH),
        "normal_mask": normal_mask,
        "id": packed["id"],
        "index": packed["index"],
        **at_file_size,
    }


def _decode_normal(raw: torch.Tensor, normal_decoding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors (..., 3, H, W) and their mask (..., 1, H, W) from triples (..., H, W, 3) and `normal_decoding`."""
    first, second, third = channels_first(raw).split(1, dim=-3)  # (..., 1, H, W) each
    a, b, c, offset = normal_decoding[..., None, None].unbind(-3)  # its columns, (..., 3, 1, 1) each
    normal = torch.addcmul(offset, a, first).addcmul_(b, second).addcmul_(c, third)
    x, y, z = normal.split(1, dim=-3)
    squared_length = (x * x).addcmul_(y, y).addcmul_(z, z)
    # The raw values of missing normals, black and middle gray, decode to lengths of 1.7 and almost 0.
    known = (squared_length > 0.5**2) & (squared_length < 1.5**2)
    return normal.mul_(squared_length.rsqrt_()).masked_fill_(~known, 0), known
