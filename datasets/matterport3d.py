"""Matterport3D (Chang et al., 3DV 2017) as panoramas, 512x1024 in the paper: --dataset MP3D.

* **Tree**: ``<scan>/matterport_skybox_images/<viewpoint>.png``, ``<scan>/undistorted_depth_images/<viewpoint>.png``,
  ``<scan>/segmentation_maps_classes/<viewpoint>_gt.png``, ``<scan>/undistorted_normal_images/<viewpoint>.png``.
  Only perspective views are published: ``tools/prepare_matterport3d.py`` creates the panoramas.
* **Depth**: 16 bits, 1/4000 m along the ray, 0 = no reading (both poles, beyond 66 degrees of latitude).
* **Labels**: the index in mpcat40, 41 classes including void. Stored ids are the index + 1: 1 = void, 2 = wall ...
  41 = misc; 0 and 42 are unlabeled.
* **Normals**: n = 2 v / 255 - 1, black = missing, in the panorama's camera frame (x right, y down, z forward).
  If panoramas are stitched from the published normal maps without rotating them, each view has a separate frame,
  which ``tools/check_dataset.py`` detects.
* **Split** by scan, official: 61 train, 11 val, 18 test. The paper trains on train and val together.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from datasets.classes import SemanticClasses
from datasets.on_disk import DiskPanoramaDataset, PanoramaFiles, label_table
from utils.colors import distinct_colors

_SCAN_IDS = {
    "train": """
        17DRP5sb8fy 1LXtFkjw3qL 1pXnuDYAj8r 29hnd4uzFmX 2n8kARJN3HM 5LpN3gDmAk7 5q7pvUzZiYa 759xd9YjKW5 7y3sRwLe3Va
        82sE5b5pLXE 8WUmhLawc2A B6ByNegPMKs D7G3Y4RVNrH D7N2EKCX4Sj E9uDoFAP3SH EDJbREhghzL GdvgFV5R1Z5 HxpKQynjfin
        JF19kD82Mey JeFG25nYj2p JmbYfDe2QKZ PX4nDJXEHrG Pm6F8kyY3z2 PuKPg4mmafe S9hNv5qa7GM SN83YJsR3w2 ULsKaCPVFJR
        Uxmj2M2itWa V2XKFyX4ASd VFuaQ6m2Qom VLzqgDo317F VVfe2KiqLaN Vvot9Ly1tCj VzqfbhrpDEA XcA2TqTSSAj YmJkqBEsHnH
        ZMojNkEp431 aayBHfsNo7d ac26ZMwG7aT b8cTxDM8gDG cV4RVeZvu5T dhjEzFoUFzH e9zR4mvMWw7 gTV8FGcVJC9 gZ6f7yhEvPG
        i5noydFURQK jh4fc5c5qoQ kEZ7cmS4wCh mJXqzFtmKg4 p5wJjkQkbXX pRbA3pwrgk9 qoiz87JEwZ2 r1Q1Z4BcV1o r47D5H71a5s
        rPc6DW4iMge s8pcmisQ38h sKLMLpTHeUy sT4fr6TAbpF uNb9QFRL6hY ur6pFq6Qu1A vyrNrziPKCB
    """,
    "val": """
        2azQ1b91cZZ 8194nk5LbLH EU6Fwq7SyZv QUCTc6BB5sX TbHJrupSAjP X7HyMhZNoso Z6MFQCViBuw oLBMNvg9in8 pLe4wQe7qrG
        x8F5xyUWy9e zsNo4HB9uLZ
    """,
    "test": """
        2t7WUuJeko7 5ZKStnWn8Zo ARNzJeq3xxb RPmz2sHmrrY UwV83HsGsw3 Vt2qJdWjCF2 WYY7iVyf5p8 YFuZgdQ5vWj YVUC4YcDtcY
        fzynW3qQPVF gYvKGZ5eRqb gxdoqLR6rwA jtcxE69GiFV pa4otMbVnkk q9vSo1VnCiC rqfALeAoiTq wc2JMjhGNzB yqstnuAEVhm
    """,
}
SCANS = {part: ids.split() for part, ids in _SCAN_IDS.items()}
MPCAT40 = (
    *("void", "wall", "floor", "chair", "door", "table", "picture", "cabinet", "cushion", "window", "sofa", "bed"),
    *("curtain", "chest_of_drawers", "plant", "sink", "stairs", "ceiling", "toilet", "stool", "towel", "mirror"),
    *("tv_monitor", "shower", "column", "bathtub", "counter", "fireplace", "lighting", "beam", "railing", "shelving"),
    *("blinds", "gym_equipment", "seating", "board_panel", "furniture", "appliances", "clothes", "objects", "misc"),
)
UNLABELED_IDS = (0, 42)
WITHOUT_DEPTH = {"01fa989e503048b7979ab2ce51cecf78"}  # in 8WUmhLawc2A; not used in the paper


class Matterport3D(DiskPanoramaDataset):
    """See the top of this file, and `DiskPanoramaDataset` for the arguments."""

    name = "MP3D"
    counts = {"train": 7829, "val": 957, "test": 2014}  # noqa: RUF012 - a constant
    val_within_train = True
    example = "<scan>/matterport_skybox_images/*.png"
    classes = SemanticClasses(names=MPCAT40, colors=distinct_colors(len(MPCAT40)))
    labels = label_table({index + 1: index for index in range(len(MPCAT40))}, ignored=UNLABELED_IDS)
    labels_remedy = "use the ids of the _gt.png files"

    def find(self, part: str) -> Iterable[PanoramaFiles]:
        for scan in SCANS[part]:
            for viewpoint in self.names_matching(viewpoint_files(scan, "*")) - WITHOUT_DEPTH:
                if "_" not in viewpoint:  # names of perspective views contain it
                    yield viewpoint_files(scan, viewpoint)

    def from_list(self, files: PanoramaFiles) -> PanoramaFiles:
        """Add ``_gt`` to the names of label maps, which the lists of the released code omit."""
        if files.semantic is None or files.semantic.endswith("_gt.png"):
            return files
        return replace(files, semantic=files.semantic.removesuffix(".png") + "_gt.png")

    def decode_depth(self, depth: np.ndarray) -> tuple[np.ndarray, float]:
        return depth, 1 / 4000


def viewpoint_files(scan: str, viewpoint: str) -> PanoramaFiles:
    """The files of a viewpoint."""
    return PanoramaFiles(
        rgb=f"{scan}/matterport_skybox_images/{viewpoint}.png",
        depth=f"{scan}/undistorted_depth_images/{viewpoint}.png",
        semantic=f"{scan}/segmentation_maps_classes/{viewpoint}_gt.png",
        normal=f"{scan}/undistorted_normal_images/{viewpoint}.png",
    )
