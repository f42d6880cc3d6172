"""Synthetic rooms seen by NYU's camera, with NYU's classes, rendered on demand: --dataset SyntheticNYU."""

from collections.abc import Callable

import numpy as np

from datasets import SPLITS
from datasets.classes import STANFORD2D3D
from datasets.nyuv2_classes import CLASS_SETS, LABELS_13_OF_40, NYUV2_40
from datasets.nyuv2_layouts import NYU_CAMERA
from datasets.perspective import PerspectiveDataset, PerspectiveImage
from datasets.rooms.layout import random_room
from datasets.rooms.perspective import random_pose, render_perspective
from utils.pinhole import Pinhole
from utils.tasks import IGNORE_LABEL, TASK_NAMES

_STREAM = 2012  # separates the random streams of this dataset from others with the same seed
_MAX_GLASS = 0.5  # largest fraction of glass in an image for which glass has no depth
_NYU_CLASS = {  # NYU's class for each class of a room; beams are unlabeled, as many objects are in NYU v2
    **{"board": "whiteboard", "bookcase": "bookshelf", "ceiling": "ceiling", "chair": "chair"},
    **{"clutter": "otherprop", "column": "otherstructure", "door": "door", "floor": "floor", "sofa": "sofa"},
    **{"table": "table", "wall": "wall", "window": "window"},
}
_LABELS = np.array(
    [NYUV2_40.label(_NYU_CLASS[name]) if name in _NYU_CLASS else IGNORE_LABEL for name in STANFORD2D3D.names], np.int8
)


class SyntheticNYU(PerspectiveDataset):
    """Random rooms, one image per room, different in each split and for each seed.

    Windows have neither depth nor normals, as depth cameras do not see glass, unless they fill most of the image.

    Args:
        split: "train", "val" or "test".
        num_rooms: number of images; an image does not depend on it.
        height, width: H x W of the images, also when rendered.
        augment, tasks: see `PerspectiveDataset`; images are always rendered with the ground truth of all tasks.
        seed: 0 or more.
        num_classes: 13 or 40.
    """

    name = "SyntheticNYU"

    def __init__(
        self,
        split: str,
        num_rooms: int,
        height: int,
        width: int,
        augment: Callable[[PerspectiveImage, int, int], PerspectiveImage] | None = None,
        seed: int = 0,
        tasks: tuple[str, ...] = TASK_NAMES,
        num_classes: int = 40,
    ):
        super().__init__(height, width, augment, tasks)
        self.split = split
        self.num_rooms = num_rooms
        self.seed = seed
        self.classes = CLASS_SETS[num_classes]

    def __len__(self) -> int:
        return self.num_rooms

    def sample_names(self) -> list[str]:
        return [f"synthetic/{self.split}/{self.seed}/{index:06d}" for index in range(self.num_rooms)]

    def read(self, index: int) -> PerspectiveImage:
        """The image of this index.

        Raises:
            IndexError: when there is no such image.
        """
        return self.seen_by(NYU_CAMERA.scaled(self.height, self.width), index)

    def seen_by(self, camera: Pinhole, index: int) -> PerspectiveImage:
        """The image of this index, seen by another camera at the same pose."""
        if not 0 <= index < self.num_rooms:
            raise IndexError(f"no room {index} in a dataset of {self.num_rooms}")
        rng = np.random.default_rng([_STREAM, self.seed, SPLITS.index(self.split), index])
        room = random_room(rng)
        view = render_perspective(room, camera, random_pose(room, rng))
        glass = view.semantic == STANFORD2D3D.label("window")
        glass &= glass.mean() < _MAX_GLASS
        labels = _LABELS[view.semantic]
        return PerspectiveImage(
            rgb=view.rgb,
            depth=np.where(glass, np.float32(0), view.depth),
            normal=np.where(glass[..., None], np.float32(0), view.normal),
            semantic=labels if len(self.classes) == len(NYUV2_40) else LABELS_13_OF_40[labels],
            id=f"synthetic/{self.split}/{index:06d}",
        )
