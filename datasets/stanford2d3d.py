"""Stanford2D3D, or 2D-3D-S (Armeni et al., 2017), as panoramas of 1024x512: --dataset S2D3D.

* **Tree**: ``area_*/{rgb,depth,semantic,normal}/camera_*_domain_{rgb,depth,semantic,normals}.png``, as
  ``tools/prepare_stanford2d3d.py`` creates it from the published data.
* **Depth**: 16 bits, 1/512 m along the ray, 65535 = missing.
* **Labels**: 0 to 12, the 13 official classes in alphabetical order; 255 = unknown.
* **Normals**: n = 2 v / 255 - 1, black or (128, 128, 128) = missing, in the camera frame (x right, y down, z forward)
  after preparation. The published ones are in the frame of the building: if they were only resized, use
  ``--normal_frame world``.
* **Split** by area, the official first fold: areas 5a and 5b for testing. Area 3 is our validation set; the paper's
  program trains on it.
"""

from collections.abc import Iterable

import numpy as np

from datasets.classes import STANFORD2D3D
from datasets.on_disk import DiskPanoramaDataset, PanoramaFiles, label_table

AREAS = {"train": ("area_1", "area_2", "area_4", "area_6"), "val": ("area_3",), "test": ("area_5a", "area_5b")}
UNKNOWN_ID = 255
MISSING_DEPTH = 65535
DEPTH_UNITS = 512  # per meter


class Stanford2D3D(DiskPanoramaDataset):
    """See the top of this file, and `DiskPanoramaDataset` for the arguments."""

    name = "S2D3D"
    counts = {"train": 955, "val": 85, "test": 373}  # noqa: RUF012 - a constant
    val_within_train = True
    example = "area_1/rgb/camera_*_frame_equirectangular_domain_rgb.png"
    classes = STANFORD2D3D
    labels = label_table({label: label for label in range(len(STANFORD2D3D))}, ignored=[UNKNOWN_ID])
    labels_remedy = "make them with tools/prepare_stanford2d3d.py"

    def find(self, part: str) -> Iterable[PanoramaFiles]:
        for area in AREAS[part]:
            for camera in self.names(panorama_files(area, "*_domain")):
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
