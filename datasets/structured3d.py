"""Structured3D (Zheng et al., ECCV 2020), furnished rooms in raw light, 512x1024: --dataset Struc3D.

* **Tree**, as published: ``scene_*/2D_rendering/<room>/panorama/full/{rgb_rawlight,depth,semantic,normal}.png``, which
  ``tools/prepare_structured3d.py`` extracts from the archives.
* **Depth**: 16 bits, millimeters along the ray, 0 = no reading. By default each image is scaled to a largest depth of
  10, as in the released code, so that results are comparable; such depth has no unit. `metric_depth` keeps meters.
* **Labels**: NYUv2-40 ids 1 to 40, 0 = unlabeled. 25 of them are kept, the others are ignored.
* **Normals**: n = v / 128 - 1 along the axes look-at, up and left, as documented; ours are right, down, forward. No
  code for missing normals is documented; black is treated as missing.
* **Split** by scene, official: below 3000 train, below 3250 val, the rest test. Six scenes listed as invalid by the
  owners are omitted. The paper trains on train only.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from datasets.classes import SemanticClasses
from datasets.on_disk import DiskPanoramaDataset, PanoramaFiles, label_table, relative_depth_scale
from datasets.panorama import Panorama
from utils.colors import distinct_colors
from utils.tasks import METERS, RELATIVE, TASK_NAMES

SCENES = {"train": range(3000), "val": range(3000, 3250), "test": range(3250, 3500)}
INVALID_SCENES = (1155, 1192, 1714, 1816, 1852, 3398)
KEPT_CLASSES = {  # NYUv2-40 id: name, in the order of our labels
    **{1: "wall", 2: "floor", 3: "cabinet", 4: "bed", 5: "chair", 6: "sofa", 7: "table", 8: "door", 9: "window"},
    **{11: "picture", 14: "desk", 15: "shelves", 16: "curtain", 17: "dresser", 18: "pillow", 19: "mirror"},
    **{22: "ceiling", 24: "refrigerator", 25: "television", 32: "nightstand", 34: "sink", 35: "lamp"},
    **{38: "otherstructure", 39: "otherfurniture", 40: "otherprop"},
}
NORMAL_DECODING = np.array(  # x, y, z (right, down, forward) from R (look-at), G (up), B (left)
    [
        [0, 0, -1 / 128, 1],
        [0, -1 / 128, 0, 1],
        [1 / 128, 0, 0, -1],
    ]
)


class Structured3D(DiskPanoramaDataset):
    """See the top of this file, and `DiskPanoramaDataset` for the other arguments.

    Args:
        metric_depth: depth in meters instead of the paper's relative depth.
    """

    name = "Struc3D"
    counts = {"train": 18334, "val": 1776, "test": 1691}  # noqa: RUF012 - a constant
    val_within_train = False
    example = "scene_*/2D_rendering/*/panorama/full/rgb_rawlight.png"
    classes = SemanticClasses(names=tuple(KEPT_CLASSES.values()), colors=distinct_colors(len(KEPT_CLASSES)))
    labels = label_table({id_: label for label, id_ in enumerate(KEPT_CLASSES)}, ignored=range(41))
    labels_remedy = "use the palette files as published"
    normal_decoding = NORMAL_DECODING

    def __init__(
        self,
        root: str | Path,
        split: str,
        height: int,
        width: int,
        augment: Callable[[Panorama], Panorama] | None = None,
        hold_out_val: bool = False,
        list_file: str | Path | None = None,
        normal_frame: str = "camera",
        tasks: tuple[str, ...] = TASK_NAMES,
        metric_depth: bool = False,
    ):
        super().__init__(root, split, height, width, augment, hold_out_val, list_file, normal_frame, tasks)
        self.metric_depth = metric_depth
        self.depth_unit = METERS if metric_depth else RELATIVE

    def find(self, part: str) -> Iterable[PanoramaFiles]:
        for scene in SCENES[part]:
            if scene not in INVALID_SCENES:
                rooms = self.root / f"scene_{scene:05d}" / "2D_rendering"
                for folder in rooms.glob("[!.]*/panorama/full"):
                    yield room_files(folder.relative_to(self.root).as_posix())

    def decode_depth(self, depth: np.ndarray) -> tuple[np.ndarray, float]:
        if self.metric_depth:
            return depth, 1 / 1000
        return depth, relative_depth_scale(depth)


def room_files(folder: str) -> PanoramaFiles:
    """The files in the folder of a furnished room (``scene_.../panorama/full``)."""
    return PanoramaFiles(
        rgb=f"{folder}/rgb_rawlight.png",
        depth=f"{folder}/depth.png",
        semantic=f"{folder}/semantic.png",
        normal=f"{folder}/normal.png",
    )
