"""The sample contract of perspective datasets: read, augment or fit to one size, decode.

`dataset[index]` is a dict with

=============== ========================== ==========================================================================
key             shape, type                meaning
=============== ========================== ==========================================================================
``rgb``         (3, H, W) float32          colors in [0, 1], or in about that range if they were distorted
``depth``       (1, H, W) float32          meters along the optical axis (z, not along the ray), 0 = missing
``normal``      (3, H, W) float32          unit vectors in the camera frame (x right, y down, z forward), pointing
                                           toward the camera; (0, 0, 0) = missing
``semantic``    (H, W) int64               class labels, -1 = ignore
``depth_mask``  (1, H, W) bool             1 mm < depth < 10 m
``normal_mask`` (1, H, W) bool             where the normal is known
``boxes``       (N, 5) float32             x1, y1, x2, y2 as fractions of W and H, and the class, 1 or more
``objects``     (M, 6) float64             ground truth of detection metrics, in pixels of the stored image, see
                                           `datasets.boxes`
``stored_size`` (2,) int64                 H, W of the stored image
``id``          str                        name of the sample
``index``       int                        index in the dataset
=============== ========================== ==========================================================================

Ground truth that is unavailable, or that no task needs, is missing in all pixels, and so is ground truth in the padding
of images with another aspect ratio: zeros, -1, False in masks, no boxes. In a batch, N and M are the maxima over its
samples; shorter arrays are padded with rows of zeros, whose class is the background.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch

from datasets import boxes as box_ops
from datasets.base import ImageDataset, channels_first, on_device
from utils.colors import IMAGENET_MEAN
from utils.padding import padded_size
from utils.tasks import ALONG_AXIS, IGNORE_LABEL, MAX_DEPTH, TASK_NAMES

MIN_DEPTH = 0.001  # meters; both bounds are excluded
_PADDING = {"rgb": tuple(255 * mean for mean in IMAGENET_MEAN), "depth": 0, "normal": (0, 0, 0), "semantic": -1}
_INTERPOLATION = dict.fromkeys(("rgb", "normal"), cv2.INTER_AREA) | dict.fromkeys(
    ("depth", "semantic"), cv2.INTER_NEAREST
)


@dataclass
class PerspectiveImage:
    """One image with its ground truth, at any size H x W.

    Attributes:
        rgb: (H, W, 3) uint8, or float32 in about [0, 1] after color distortion.
        depth: (H, W) float32 meters along the optical axis, 0 = missing.
        normal: (H, W, 3) float32 unit vectors toward the camera, x right, y down, z forward; (0, 0, 0) = missing.
        semantic: (H, W) int8 labels, -1 = ignore.
        id: name of the image.
        boxes: (n, 5) float32 in pixels of this image, see `datasets.boxes`.
        objects: (M, 6) float64 in pixels of the stored image, see `datasets.boxes`; they are never transformed.
    """

    rgb: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    semantic: np.ndarray
    id: str
    boxes: np.ndarray = field(default_factory=box_ops.no_boxes)
    objects: np.ndarray = field(default_factory=box_ops.no_objects)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.depth.shape

    def padded(self, height: int, width: int, top: int = 0, left: int = 0) -> "PerspectiveImage":
        """The image on a larger canvas, its first pixel at (top, left); ground truth is missing in the padding."""
        rows, columns = self.size
        if (rows, columns) == (height, width):
            return self
        borders = top, height - rows - top, left, width - columns - left
        padded = self._map_arrays(lambda name, array: _with_borders(name, array, borders))
        return replace(padded, boxes=box_ops.shifted(self.boxes, top, left))

    def cropped(self, top: int, left: int, height: int, width: int) -> "PerspectiveImage":
        """A window of the image, with boxes clipped to it."""
        window = self._map_arrays(lambda _, array: array[top : top + height, left : left + width])
        return replace(window, boxes=box_ops.clipped(box_ops.shifted(self.boxes, -top, -left), height, width))

    def resized(self, height: int, width: int) -> "PerspectiveImage":
        """The image at another size: colors and normals averaged by area, depth and labels by nearest neighbor.

        When enlarging, OpenCV interpolates linearly instead. Normals are shorter than 1 where directions mix.
        """
        if self.size == (height, width):
            return self
        rows, columns = self.size
        resized = self._map_arrays(lambda name, array: _resized(name, array, height, width))
        return replace(resized, boxes=box_ops.scaled(self.boxes, height / rows, width / columns))

    def flipped(self) -> "PerspectiveImage":
        """The mirror image, with the x component of the normals negated."""
        mirrored = self._map_arrays(lambda _, array: cv2.flip(array, 1))
        return replace(
            mirrored,
            normal=mirrored.normal * np.array([-1, 1, 1], np.float32),
            boxes=box_ops.mirrored(self.boxes, self.size[1]),
        )

    def fitted(self, height: int, width: int) -> "PerspectiveImage":
        """The image for evaluation: padded to the aspect ratio at its right or lower border, then resized."""
        return self.padded(*padded_size(self.size, height, width)).resized(height, width)

    def _map_arrays(self, change: Callable[[str, np.ndarray], np.ndarray]) -> "PerspectiveImage":
        """Apply a function of name and array to colors and maps."""
        return replace(self, **{name: change(name, getattr(self, name)) for name in _PADDING})


def fit_colors(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Colors (any, any, 3) uint8, padded and resized to (height, width, 3) as by `PerspectiveImage.fitted`."""
    rows, columns = rgb.shape[:2]
    padded_rows, padded_columns = padded_size((rows, columns), height, width)
    padded = _with_borders("rgb", rgb, (0, padded_rows - rows, 0, padded_columns - columns))
    return _resized("rgb", padded, height, width)


def _with_borders(name: str, array: np.ndarray, borders: tuple[int, int, int, int]) -> np.ndarray:
    """Pad an array by (above, below, left, right) pixels."""
    return cv2.copyMakeBorder(array, *borders, cv2.BORDER_CONSTANT, value=_PADDING[name])


def _resized(name: str, array: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(array, (width, height), interpolation=_INTERPOLATION[name])


class PerspectiveDataset(ImageDataset):
    """Perspective images, see `ImageDataset`.

    Images are brought to H x W by `augment` (see `datasets.perspective_augment`), or else by `PerspectiveImage.fitted`.

    Attributes:
        labeled_tasks: names of the tasks for which the dataset has ground truth.
    """

    depth_unit: str = ALONG_AXIS
    labeled_tasks: tuple[str, ...] = TASK_NAMES

    @abstractmethod
    def read(self, index: int) -> PerspectiveImage:
        """Read an image with its ground truth, at the stored size."""

    def missing_files(self) -> list[str]:
        """Paths of all needed files that do not exist."""
        return []

    def describe_source(self) -> dict[str, str | int | float | None]:
        """Facts that metrics depend on, for checkpoints and results."""
        return {"classes": len(self.classes)}

    def packed(self, index: int) -> dict:
        """The sample after reading and resizing or augmentation, not decoded yet (see `pack`)."""
        image = self.read(index)
        prepare = self.augment or PerspectiveImage.fitted
        return pack(prepare(image, self.height, self.width), index, image.size)

    @staticmethod
    def unpack(packed: dict, device: torch.device | str = "cpu") -> dict:
        """See `unpack`."""
        return unpack(packed, device)


def pack(image: PerspectiveImage, index: int, stored_size: tuple[int, int] | None = None) -> dict:
    """The arrays of an image, which can be stacked and decoded by `unpack`; `stored_size` defaults to the size."""
    arrays = {name: np.ascontiguousarray(getattr(image, name)) for name in _PADDING}
    arrays["boxes"] = box_ops.scaled(image.boxes, 1 / image.size[0], 1 / image.size[1])
    arrays["objects"] = image.objects
    return arrays | {"stored_size": np.array(stored_size or image.size), "id": image.id, "index": index}


def unpack(packed: dict, device: torch.device | str = "cpu") -> dict:
    """Decode one packed sample, or a batch of them, to the sample contract above, on a device."""
    rgb, depth, normal, semantic = (on_device(packed[key], device) for key in ("rgb", "depth", "normal", "semantic"))
    colors = channels_first(rgb).float() if rgb.is_floating_point() else channels_first(rgb).float().div_(255)
    depth = depth.float().unsqueeze(-3)
    vectors = channels_first(normal).float()
    length = torch.linalg.vector_norm(vectors, dim=-3, keepdim=True)
    normal_mask = length > 0.5  # shorter vectors average contrary directions, or mostly missing normals
    return {
        "rgb": colors,
        "depth": depth,
        "normal": torch.where(normal_mask, vectors / length, 0),
        "semantic": semantic.long(),
        "depth_mask": (depth > MIN_DEPTH) & (depth < MAX_DEPTH),
        "normal_mask": normal_mask,
        **{key: on_device(packed[key], device) for key in ("boxes", "objects", "stored_size")},
        "id": packed["id"],
        "index": packed["index"],
    }


def without_maps(rgb: np.ndarray, image_id: str) -> PerspectiveImage:
    """An image (H, W, 3) with all ground truth missing."""
    height, width = rgb.shape[:2]
    return PerspectiveImage(
        rgb=rgb,
        depth=np.zeros((height, width), np.float32),
        normal=np.zeros((height, width, 3), np.float32),
        semantic=np.full((height, width), IGNORE_LABEL, np.int8),
        id=image_id,
    )
