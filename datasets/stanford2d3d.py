"""Stanford2D3D, or 2D-3D-S (Armeni et al., 2017), as panoramas of 512x1024: --dataset S2D3D.

* **Tree**: ``area_*/{rgb,depth,semantic,normal}/camera_*_domain_{rgb,depth,semantic,normals}.png``, as
  ``tools/prepare_stanford2d3d.py`` creates it from the published data.
* **Depth**: 16 bits, 1/512 m along the ray, 65535 = missing.
* **Labels**: 0 to 12, the 13 official classes in alphabetical order; 255 = unknown.
* **Normals**: n = 2 v / 255 - 1, black or (128, 128, 128) = missing, in the camera frame (x right, y down, z forward)
  after preparation. The published normals are in the frame of the building: if they were only resized, pass
  ``--normal_frame world``.
* **Split** by area, the official folds: the first (default) tests on areas 5a and 5b, the second on areas 2 and 4, the
  third on areas 1, 3 and 6. The validation area is our choice: area 3 in the first two folds, area 4 in the third; the
  released code trains on it.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from datasets.classes import STANFORD2D3D
from datasets.on_disk import DiskPanoramaDataset, PanoramaFiles, label_table
from datasets.panorama import Panorama
from utils.tasks import TASK_NAMES

COUNTS = {"area_1": 190, "area_2": 299, "area_3": 85, "area_4": 258, "area_5a": 143, "area_5b": 230, "area_6": 208}
FOLDS = {
    1: {"train": ("area_1", "area_2", "area_4", "area_6"), "val": ("area_3",), "test": ("area_5a", "area_5b")},
    2: {"train": ("area_1", "area_5a", "area_5b", "area_6"), "val": ("area_3",), "test": ("area_2", "area_4")},
    3: {"train": ("area_2", "area_5a", "area_5b"), "val": ("area_4",), "test": ("area_1", "area_3", "area_6")},
}
AREAS = FOLDS[1]
UNKNOWN_ID = 255
MISSING_DEPTH = 65535
DEPTH_UNITS = 512  # per meter


class Stanford2D3D(DiskPanoramaDataset):
    """See the top of this file, and `DiskPanoramaDataset` for the other arguments.

    Args:
        fold: 1, 2 or 3.
    """

    name = "S2D3D"
    val_within_train = True
    example = "area_*/rgb/camera_*_frame_equirectangular_domain_rgb.png"
    classes = STANFORD2D3D
    labels = label_table({label: label for label in range(len(STANFORD2D3D))}, ignored=[UNKNOWN_ID])
    labels_remedy = "create them with tools/prepare_stanford2d3d.py"

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
        fold: int = 1,
    ):
        self._areas = FOLDS[fold]
        self.counts = {part: sum(COUNTS[area] for area in areas) for part, areas in self._areas.items()}
        super().__init__(root, split, height, width, augment, hold_out_val, list_file, normal_frame, tasks)

    def find(self, part: str) -> Iterable[PanoramaFiles]:
        for area in self._areas[part]:
            for camera in self.names_matching(panorama_files(area, "*_domain")):
                yield panorama_files(area, f"{camera}_domain")

    def decode_depth(self, depth: np.ndarray) -> tuple[np.ndarray, float]:
        return np.where(depth == MISSING_DEPTH, np.uint16(0), depth), 1 / DEPTH_UNITS


def panorama_files(area: str, stem: str) -> PanoramaFiles:
    """The files of a panorama, given the common prefix of their names (``camera_..._domain``)."""
    return PanoramaFiles(
        rgb=f"{area}/rgb/{stem}_rgb.png",
        depth=f"{area}/depth/{stem}_depth.png",
        semantic=f"{area}/semantic/{stem}_semantic.png",
        normal=f"{area}/normal/{stem}_normals.png",
    )
