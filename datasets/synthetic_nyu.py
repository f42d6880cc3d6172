"""Synthetic rooms through NYU's camera, with NYU's classes, rendered when they are asked for. It needs no files."""

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

_STREAM = 2012  # sets the random streams of this dataset apart from others of the same seed
_MOST_GLASS = 0.5  # fraction of an image without depth
_NYU_CLASS = {  # of the classes of a room; beams are unlabeled, as much is in NYU v2
    **{"board": "whiteboard", "bookcase": "bookshelf", "ceiling": "ceiling", "chair": "chair"},
    **{"clutter": "otherprop", "column": "otherstructure", "door": "door", "floor": "floor", "sofa": "sofa"},
    **{"table": "table", "wall": "wall", "window": "window"},
}
_LABELS = np.array(
    [NYUV2_40.label(_NYU_CLASS[name]) if name in _NYU_CLASS else IGNORE_LABEL for name in STANFORD2D3D.names], np.int8
)


class SyntheticNYU(PerspectiveDataset):
    """Images of rooms made up at random, one of each; those of different splits or seeds are different ones.

    Windows have neither depth nor normals, as glass has none for a depth camera, unless they fill the image.

    Args:
        split: "train", "val" or "test".
        num_rooms: how many images there are; an image does not depend on how many follow it.
        height, width: H x W at which they are rendered.
        augment, tasks: see `PerspectiveDataset`; every image is rendered with the ground truth of all tasks.
        seed: 0 or more; another seed gives other rooms.
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
        """The image of this index, as another camera at the same place sees it."""
        if not 0 <= index < self.num_rooms:
            raise IndexError(f"there is no room {index} among {self.num_rooms}")
        rng = np.random.default_rng([_STREAM, self.seed, SPLITS.index(self.split), index])
        room = random_room(rng)
        view = render_perspective(room, camera, random_pose(room, rng))
        glass = view.semantic == STANFORD2D3D.label("window")
        glass &= glass.mean() < _MOST_GLASS
        labels = _LABELS[view.semantic]
        return PerspectiveImage(
            rgb=view.rgb,
            depth=np.where(glass, np.float32(0), view.depth),
            normal=np.where(glass[..., None], np.float32(0), view.normal),
            semantic=labels if len(self.classes) == len(NYUV2_40) else LABELS_13_OF_40[labels],
            id=f"synthetic/{self.split}/{index:06d}",
        )
