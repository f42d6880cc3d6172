"""Writes synthetic rooms in the formats of the panorama datasets: paths, encodings and label ids."""

import json
import uuid
from abc import ABC, abstractmethod
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from datasets.classes import STANFORD2D3D
from datasets.folder_description import FILE_NAME
from datasets.matterport3d import MPCAT40, SCANS, viewpoint_files
from datasets.on_disk import PanoramaFiles
from datasets.panorama import Panorama
from datasets.stanford2d3d import AREAS, DEPTH_UNITS, MISSING_DEPTH, panorama_files
from datasets.structured3d import room_files
from datasets.synthetic import SyntheticRooms
from utils.errors import UserError
from utils.files import atomic_path, write_text
from utils.parallel import map_with_progress


class Layout(ABC):
    """The format in which a dataset stores a panorama.

    Attributes:
        ids: stored id of each of the 13 labels of a room.
        val_within_train: see `datasets.on_disk.DiskPanoramaDataset`.
        description: content of dataset.json; None: no such file.
    """

    ids: np.ndarray
    val_within_train = True
    description: dict | None = None

    @abstractmethod
    def files(self, part: str, number: int) -> PanoramaFiles:
        """Names of the files of a room in "train", "val" or "test"."""

    @abstractmethod
    def depth(self, meters: np.ndarray) -> np.ndarray:
        """Stored depth (H, W) uint16 for meters along the ray (H, W)."""

    def normal(self, normal: np.ndarray) -> np.ndarray:
        """Stored normals (H, W, 3) uint8 for unit vectors (H, W, 3) in the camera frame."""
        return np.rint((normal + 1) * 127.5).astype(np.uint8)


class MP3D(Layout):
    """Matterport3D: 1/4000 m, mpcat40 index + 1."""

    ids = np.array(
        [
            MPCAT40.index(name) + 1
            for name in (
                *("beam", "board_panel", "shelving", "ceiling", "chair", "objects", "column"),
                *("door", "floor", "sofa", "table", "wall", "window"),
            )
        ]
    )

    def files(self, part: str, number: int) -> PanoramaFiles:
        return viewpoint_files(SCANS[part][0], _unique_name(f"MP3D/{part}/{number}"))

    def depth(self, meters: np.ndarray) -> np.ndarray:
        return _units(meters, 4000, largest=65535)


class S2D3D(Layout):
    """Stanford2D3D as prepared: 1/512 m, labels 0 to 12."""

    ids = np.arange(len(STANFORD2D3D))

    def files(self, part: str, number: int) -> PanoramaFiles:
        name = _unique_name(f"S2D3D/{part}/{number}")
        return panorama_files(AREAS[part][0], f"camera_{name}_office_{number + 1}_frame_equirectangular_domain")

    def depth(self, meters: np.ndarray) -> np.ndarray:
        units = _units(meters, DEPTH_UNITS, largest=MISSING_DEPTH - 1)
        units[units == 0] = MISSING_DEPTH
        return units


class Struc3D(Layout):
    """Structured3D: millimeters, NYUv2-40 ids, normals v = 128 (1 + n) along look-at, up and left."""

    # beam, column: otherstructure. board: whiteboard and bookcase: bookshelf, two of the ignored ids.
    ids = np.array([38, 30, 10, 22, 5, 40, 38, 8, 2, 6, 7, 1, 9])
    val_within_train = False

    def files(self, part: str, number: int) -> PanoramaFiles:
        scene = {"train": 0, "val": 3000, "test": 3250}[part]
        return room_files(f"scene_{scene:05d}/2D_rendering/{number + 1}/panorama/full")

    def depth(self, meters: np.ndarray) -> np.ndarray:
        return _units(meters, 1000, largest=65535)

    def normal(self, normal: np.ndarray) -> np.ndarray:
        right, down, forward = np.moveaxis(normal, -1, 0)
        return np.rint(128 * (1 + np.stack([forward, -down, -right], axis=-1))).clip(0, 255).astype(np.uint8)


class Folder(Layout):
    """A user's own dataset: millimeters, 8-bit normals, ids 1 to 13."""

    ids = 1 + np.arange(len(STANFORD2D3D))
    val_within_train = False
    description: ClassVar = {
        "files": {
            "rgb": "*/rgb/*.png",
            "depth": "*/depth/*.png",
            "semantic": "*/labels/*.png",
            "normal": "*/normals/*.png",
        },
        "depth": {"unit": 0.001},
        "normal": {"frame": "camera", "range": [0, 255]},
        "classes": [
            {"id": id_, "name": name, "color": list(color)}
            for id_, (name, color) in enumerate(zip(STANFORD2D3D.names, STANFORD2D3D.colors, strict=True), start=1)
        ],
        "ignored_ids": [0],
        "splits": {"train": "rest", "val": ["val/*"], "test": ["test/*"]},
    }

    def files(self, part: str, number: int) -> PanoramaFiles:
        return PanoramaFiles(
            **{
                kind: pattern.replace("*", "{}").format(part, number + 1)
                for kind, pattern in self.description["files"].items()
            }
        )

    def depth(self, meters: np.ndarray) -> np.ndarray:
        return _units(meters, 1000, largest=65535)


NOTE = "synthetic_dataset.json"  # in the root folder
LAYOUTS = {layout.__name__: layout for layout in (MP3D, S2D3D, Struc3D, Folder)}


def write_dataset(
    layout_name: str, num: int, out: Path, height: int = 512, first_seed: int = 0, num_workers: int | None = 0
) -> None:
    """Write `num` rooms for testing, `num` for training, and `num` / 4, rounded up, for "val".

    Layouts with `val_within_train` take the rooms of "val" from those for training, none from a single one.

    Raises:
        UserError: when the folder has other content.
    """
    layout = LAYOUTS[layout_name]()
    num_val = -(-num // 4) if num > 1 or not layout.val_within_train else 0
    parts = ["train"] * (num - num_val if layout.val_within_train else num) + ["val"] * num_val
    rooms = [("train", part, index) for index, part in enumerate(parts)]
    rooms += [("test", "test", index) for index in range(num)]
    counts = {part: sum(room[1] == part for room in rooms) for part in ("train", "val", "test")}
    claim(out, {"layout": layout_name, "counts": counts, "height": height, "seed": first_seed})
    if layout.description:
        write_text(out / FILE_NAME, json.dumps(layout.description, indent=2) + "\n")
    write = partial(write_room, layout=layout, out=out, height=height, first_seed=first_seed)
    for _ in map_with_progress(write, rooms, num_workers, f"writing {layout_name}"):
        pass


def claim(out: Path, content: dict) -> None:
    """Write a note with the future content of a folder to it.

    Raises:
        UserError: when the folder has other content.
    """
    note = out / NOTE
    if out.is_dir() and any(out.iterdir()) and not (note.is_file() and json.loads(note.read_text()) == content):
        raise UserError(f"--out {out} holds something else: choose an empty folder")
    write_text(note, json.dumps(content) + "\n")


def write_room(room: tuple[str, str, int], layout: Layout, out: Path, height: int, first_seed: int) -> None:
    """Write a room, given as (split of the synthetic rooms, part of the dataset, index), as four images."""
    split, part, index = room
    panorama = SyntheticRooms(split, index + 1, height, 2 * height, seed=first_seed).read(index)
    for name, image in encode(panorama, layout).items():
        with atomic_path(out / asdict(layout.files(part, index))[name]) as temporary:
            Image.fromarray(image).save(temporary)


def encode(panorama: Panorama, layout: Layout) -> dict[str, np.ndarray]:
    """The four stored images of a room, by kind."""
    return {
        "rgb": panorama.rgb,
        "depth": layout.depth(panorama.depth),
        "semantic": layout.ids[panorama.semantic].astype(np.uint8),
        "normal": layout.normal(panorama.normal),
    }


def _units(meters: np.ndarray, per_meter: int, largest: int) -> np.ndarray:
    """Depth in integer units, 0 where it is out of range."""
    units = np.rint(meters.astype(np.float64) * per_meter)
    return np.where(units <= largest, units, 0).astype(np.uint16)


def _unique_name(what: str) -> str:
    """32 hexadecimal digits, determined by the text."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"elite360m/{what}").hex
